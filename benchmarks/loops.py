"""What the processes of other people's loops share: one Optuna study, and measuring at the end.

Such a process is started with a pickled `Job`. It trains trials of the study until there are none
left, says so on stdout, waits for a line on stdin, and only then measures its models on held-out
data: with rdsweep's own evaluation, as the weights stand in rdsweep's model.
"""

import json
import math
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias, final

import optuna
import torch
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState

from cases import OTHERS_SEED, Case, Setting, axes
from vae_models.vae import VAE

STUDY = "others"

Train: TypeAlias = Callable[[VAE, float], float]
"""Trains a model with a beta; returns the training loss of the last epoch."""


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """What one process is asked to do.

    Attributes:
        case: On what.
        settings: All trials of the study.
        url: Of the study.
        device: "cpu" or "cuda".
        threads: CPU threads of the process; 0 leaves that to torch.
        tensors: Whether the images come from a tensor in memory instead of one by one.
        loader_workers: Processes that load images.
        folder: For what a library must write.
    """

    case: Case
    settings: tuple[Setting, ...]
    url: str
    device: str
    threads: int
    tensors: bool
    loader_workers: int
    folder: Path


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One trial, measured on held-out data at beta = 1 with z ~ q(z|x)."""

    beta: float
    latents: int
    rate_nats: float
    distortion_nats: float


def create_study(job: Job) -> None:
    """The study, with all settings in its queue."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=STUDY, storage=job.url)
    for setting in job.settings:
        study.enqueue_trial({"beta": setting.beta, "latent_dim": setting.latents})


def serve(loop: Callable[[Job], Train]) -> None:
    """The whole life of a process: trains, waits, measures."""
    job: Job = pickle.loads(Path(sys.argv[1]).read_bytes())
    answers, sys.stdout = sys.stdout, sys.stderr
    if job.threads:
        torch.set_num_threads(job.threads)
    # starts the GPU, and torch's first optimiser imports for seconds: neither is a trial's time
    torch.optim.Adam([torch.zeros(1, device=job.device)])
    models: list[tuple[Setting, VAE]] = []
    stamps = _optimise(job, loop(job), models)
    print(json.dumps(stamps), file=answers, flush=True)
    sys.stdin.readline()
    print(json.dumps([asdict(outcome) for outcome in _measured(job, models)]), file=answers)
    answers.close()


def _optimise(job: Job, train: Train, models: list[tuple[Setting, VAE]]) -> list[float]:
    """Trains while there are trials; returns when the first began and the last ended."""
    betas, latents = axes(job.settings)
    begins = [math.inf]

    def objective(trial: optuna.Trial) -> float:
        if trial.number >= len(job.settings):  # the other processes were faster
            raise optuna.TrialPruned
        begins.append(time.time())
        setting = Setting(
            beta=trial.suggest_categorical("beta", betas),
            latents=trial.suggest_categorical("latent_dim", latents),
        )
        torch.manual_seed(OTHERS_SEED)
        vae = job.case.build(setting.latents).to(job.device)
        models.append((setting, vae))
        return train(vae, setting.beta)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler()  # it has nothing to do: the queue holds all settings
    study = optuna.load_study(study_name=STUDY, storage=job.url, sampler=sampler)
    taken = (TrialState.COMPLETE, TrialState.RUNNING)
    study.optimize(objective, callbacks=[MaxTrialsCallback(len(job.settings), states=taken)])
    return [min(begins), time.time() if models else -math.inf]


def _measured(job: Job, models: list[tuple[Setting, VAE]]) -> list[Outcome]:
    from vae_models.data import load_data
    from vae_models.evaluation import evaluate

    data = load_data(job.case.data_config).to(job.device)
    outcomes = []
    for setting, vae in models:
        found = evaluate(vae, data)
        outcomes.append(
            Outcome(
                beta=setting.beta,
                latents=setting.latents,
                rate_nats=found.rate_nats,
                distortion_nats=found.distortion_nll_nats,
            )
        )
    return outcomes
