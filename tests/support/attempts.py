"""Attempts at real trainings on little data, each by a worker of its own."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load
from sqlalchemy import text
from torch import Tensor

from studies.database import Database, open_database, prepare_schema
from studies.leases import take_trial
from studies.queries import artifacts_of, epochs_of, latents_of, query_trials
from studies.queue import add_trials
from studies.records import EpochRecord, LatentRecord, Lease, TrialRecord
from studies.study_records import create_study
from study_examples import STUDY, new_trial
from sweeps.artifact_store import ArtifactStore
from sweeps.attempt import Attempt
from sweeps.directory_store import DirectoryStore
from sweeps.stopping import StopRequest
from sweeps.trial_files import trial_folder
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet
from vae_models.evaluation_config import EvaluationConfig
from vae_models.trainer import Trainer

EVALUATION = EvaluationConfig(samples=2, iwae_samples=4, diagnostic_examples=100)
TIMES: dict[str, Any] = {
    "uuid": "",
    "seconds": 0.0,
    "attempt": 0,
    "worker": None,
    "created_at": 0.0,
    "started_at": None,
    "finished_at": None,
}


def trial_config(epochs: int = 4, **sections: dict[str, Any]) -> TrialConfig:
    """A small network on the digits; sections replace its settings."""
    model = {"hidden": (16,), "latent_dim": 3, **sections.get("model", {})}
    objective = {"beta": 0.1, **sections.get("objective", {})}
    train = {"epochs": epochs, "batch_size": 256, "learning_rate": 3e-3}
    return TrialConfig(
        model=ModelConfig(**model),
        objective=ObjectiveConfig(**objective),
        train=TrainConfig(**{**train, **sections.get("train", {})}),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial left in the database and the store, apart from times, names and attempts."""

    trial: TrialRecord
    epochs: Sequence[EpochRecord]
    latents: Sequence[LatentRecord]
    pictures: Sequence[str]
    model: dict[str, list[float]]


@dataclass(frozen=True)
class LoneAttempt:
    """An attempt and a trainer that trains nothing else; what stops it is raised."""

    attempt: Attempt

    @property
    def lease(self) -> Lease:
        """The attempt's."""
        return self.attempt.lease

    @property
    def note(self) -> str | None:
        """What hinders it at the moment."""
        return self.attempt.note

    def fail(self, error: str) -> None:
        """Ends the trial as failed."""
        self.attempt.fail(error)

    def run(self) -> None:
        """Trains the trial to its end, to its divergence, or until a stop is asked for."""
        trainer = Trainer([], self.attempt.data, slots=1)
        self.attempt.begin(trainer)
        while not self.attempt.ended:
            for result in trainer.train_epoch():
                self.attempt.hear(result)
            self._end_epoch()

    def _end_epoch(self) -> None:
        if self.attempt.ended:
            return
        if self.attempt.trained:
            self.attempt.finish()
        elif self.attempt.stop.requested:
            self.attempt.leave()


@dataclass
class Scene:
    """A study of one trial, and the workers that try it one after the other."""

    db: Database
    store: ArtifactStore
    data: DataSet
    workers: int = field(default=0, init=False)

    @classmethod
    def of(
        cls, folder: Path, data: DataSet, config: TrialConfig, files: Path | None = None
    ) -> Self:
        """A fresh study with that trial in its queue, and its files in a directory."""
        folder.mkdir(exist_ok=True)
        db = open_database(f"sqlite:///{folder / 'attempts.db'}", patience_seconds=60.0)
        prepare_schema(db)
        create_study(db, STUDY)
        add_trials(db, STUDY.name, [new_trial(0, config=config.to_dict())])
        store = DirectoryStore(files or folder / "files")
        store.create()
        return cls(db, store, data)

    def take(self, *, lease_seconds: float = 600.0) -> Lease:
        """The trial's lease for a new worker."""
        lease = self.try_to_take(lease_seconds=lease_seconds)
        assert lease is not None
        return lease

    def try_to_take(self, *, lease_seconds: float = 600.0) -> Lease | None:
        """The trial's lease for a new worker, unless somebody has it."""
        self.workers += 1
        worker = f"worker-{self.workers}"
        return take_trial(self.db, STUDY.name, worker, lease_seconds=lease_seconds, max_attempts=3)

    def attempt(self, lease: Lease | None = None, **settings: Any) -> LoneAttempt:
        """The next worker's attempt, in a process that drew other random numbers before."""
        torch.manual_seed(int.from_bytes(os.urandom(4), "little"))
        arguments: dict[str, Any] = {
            "db": self.db,
            "lease": self.take() if lease is None else lease,
            "store": self.store,
            "data": self.data,
            "stop": StopRequest(),
            "lease_seconds": 600.0,
            "evaluation": EVALUATION,
            **settings,
        }
        return LoneAttempt(Attempt(**arguments))

    def one_epoch(self, **settings: Any) -> None:
        """An attempt that is asked to stop from its start on: it ends one epoch and leaves."""
        self.attempt(stop=StopRequest(parent_pid=-1), **settings).run()

    @property
    def trial(self) -> TrialRecord:
        """The trial."""
        (trial,) = query_trials(self.db, STUDY.name)
        return trial

    @property
    def folder(self) -> str:
        """The folder of the trial's files."""
        return trial_folder(STUDY.name, 0, self.trial.uuid)

    @property
    def names(self) -> list[str]:
        """The names of the trial's files."""
        files = self.store.keys(self.folder)
        return [file.key.rpartition("/")[2] for file in files]

    def key(self, name: str) -> str:
        """The key of one of the trial's files."""
        return f"{self.folder}/{name}"

    def trained_by(self) -> dict[int, int]:
        """Which attempt trained each epoch."""
        return dict(self._select("SELECT epoch, attempt FROM rdsweep_epochs"))

    def history(self) -> list[tuple[Any, ...]]:
        """Attempt, outcome and reason of each attempt."""
        query = "SELECT attempt, outcome, reason FROM rdsweep_attempts ORDER BY attempt"
        return self._select(query)

    def deaths(self) -> int:
        """How many attempts died."""
        ((deaths,),) = self._select("SELECT deaths FROM rdsweep_trials")
        return int(deaths)

    def _select(self, statement: str) -> list[Any]:
        with self.db.read() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def outcome(self) -> Outcome:
        """What the trial left."""
        (artifact,) = artifacts_of(self.db, STUDY.name, "checkpoint").values()
        assert artifact.path is not None
        tensors: dict[str, Tensor] = load(self.store.get(artifact.path))
        kinds = ("reconstructions", "samples", "traversals", "traversal_latents")
        pictures = [artifacts_of(self.db, STUDY.name, kind) for kind in kinds]
        return Outcome(
            trial=replace(self.trial, **TIMES),
            epochs=[replace(epoch, seconds=0.0) for epoch in epochs_of(self.db, STUDY.name)[0]],
            latents=latents_of(self.db, STUDY.name)[0],
            pictures=[found[0].sha256 for found in pictures if found],
            model={name: tensor.flatten().tolist() for name, tensor in tensors.items()},
        )
