"""Plain studies, trials and measurements for tests of the database."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from studies.database import Database
from studies.queue import add_trials
from studies.records import (
    ArtifactRecord,
    EpochRecord,
    EvaluationRecord,
    LatentRecord,
    NewTrial,
    StudyRecord,
)
from studies.study_records import create_study

STUDY = StudyRecord(
    name="digits-beta",
    spec={"study": {"name": "digits-beta"}, "space": {"beta": {"low": 0.01, "high": 100.0}}},
    spec_hash="c0ffee",
    distortion="se",
    trials_wanted=8,
    sampler="random",
    data={"name": "digits", "checksum": "abc", "train_size": 1498, "image_shape": [1, 8, 8]},
    spectrum=(5.0, 3.2, 0.1),
    rate_reference_nats=50.0,
    distortion_reference=20.0,
    artifacts_url="artifacts",
    code_version="0.1.0",
    packages={"torch": "2.11.0"},
)

EVALUATION = EvaluationRecord(
    rate_nats=10.5,
    rate_stderr_nats=0.1,
    distortion_se=3.25,
    distortion_se_stderr=0.05,
    distortion_nll_nats=60.0,
    distortion_nll_stderr_nats=0.5,
    elbo_nats=-70.5,
    mse=0.05,
    psnr_db=13.0,
    active_units=3,
    collapsed=False,
    bits_per_dim=None,
    active_threshold=0.01,
    mutual_information_nats=6.5,
    marginal_kl_nats=4.0,
    total_correlation_nats=1.5,
    dimension_kl_nats=2.5,
    diagnostic_examples=299,
    iwae_nats=-68.25,
    iwae_stderr_nats=0.5,
    iwae_samples=64,
    bce_floor_nats=11.0,
    collapse="partial",
    train_rate_nats=10.75,
    train_distortion_se=3.0,
    train_distortion_nll_nats=57.5,
    notes=("I(x; z) is within 1 nat of ln 299, where its estimate saturates.",),
)

LATENTS = tuple(
    LatentRecord(
        latent=index,
        kl_nats=1.5 * index,
        mean_variance=0.3 * index,
        active=index > 0,
        kl_std_nats=0.25 * index,
        kl_q10_nats=1.25 * index,
        kl_q90_nats=2.0 * index,
        last_active_epoch=20 if index > 0 else 0,
    )
    for index in range(4)
)

_PIXELS = bytes(range(64))
ARTIFACT = ArtifactRecord(
    kind="reconstructions",
    media_type="application/x-npy",
    content=_PIXELS,
    path=None,
    sha256=hashlib.sha256(_PIXELS).hexdigest(),
    size=len(_PIXELS),
)


def new_trial(number: int, **changes: object) -> NewTrial:
    """Returns a suggestion whose beta tells its number."""
    beta = 0.5 + number
    trial = NewTrial(
        number=number,
        parameters={"beta": beta, "latent_dim": 4},
        config={"model": {"latent_dim": 4}, "objective": {"beta": beta}, "train": {"seed": 7}},
        beta=beta,
        raw_weight=beta,
        beta_norm=beta * 4 / 64,
        level=None,
        latent_dim=4,
        reduction="sum",
        annealing="constant",
        likelihood="bernoulli",
        family="mlp",
        sigma2=None,
        learning_rate=1e-3,
        batch_size=128,
        epochs=20,
        seed=7,
        regulariser="kl",
        prior="standard",
        posterior="diagonal",
        weights={"sum": beta, "latent_mean": beta * 4},
    )
    return replace(trial, **changes)  # type: ignore[arg-type]


def epoch_record(epoch: int, seconds: float = 2.0) -> EpochRecord:
    """Returns an epoch whose rate tells its number."""
    return EpochRecord(
        epoch=epoch,
        step=11 * epoch,
        rate_nats=float(epoch),
        distortion_se=20.0 / epoch,
        distortion_nll_nats=100.0 / epoch,
        objective=25.0 / epoch + 0.125 * epoch,
        annealing_weight=0.5,
        nll_weight=0.25,
        rate_weight=0.125,
        seconds=seconds,
        learning_rate=1e-3,
        active_units=3,
    )


def study_of(database: Database, trials: int, **changes: object) -> str:
    """Makes a study with so many queued trials, and returns its name."""
    study = replace(STUDY, **changes)  # type: ignore[arg-type]
    create_study(database, study)
    add_trials(database, study.name, [new_trial(number) for number in range(trials)])
    return study.name
