"""Studies whose trials are not trained: their outcomes are functions of their parameters."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from optuna_memory import kept
from studies.database import Database, open_database, prepare_schema
from studies.leases import take_trial
from studies.outcomes import diverge_trial, fail_trial, finish_trial
from studies.queries import query_trials
from studies.records import Lease, TrialRecord
from studies.study_records import create_study
from study_examples import EVALUATION, STUDY
from sweeps.optuna_store import create_optuna_study
from sweeps.spec import Spec
from sweeps.suggestions import SuggestionDesk

PIXELS = 64

Outcome = tuple[float, float] | None
"""(rate, distortion), or None for a trial that diverges."""

BETA: Mapping[str, Any] = {"low": 1e-2, "high": 1e2, "log": True}
TREE: Mapping[str, Any] = {
    "regulariser": ["kl", "capacity"],
    "beta": BETA,
    "latent_dim": {"low": 2, "high": 32, "log": True},
    "annealing": ["constant", "linear", "cyclical"],
    "warmup": {"low": 0.1, "high": 0.9},
    "cycles": [2, 4],
    "family": ["linear", "mlp"],
    "hidden": [[32], [64, 32]],
}


def trade_off(lease: Lease) -> Outcome:
    """A smooth front: a larger beta buys distortion with rate."""
    beta = lease.config["objective"]["beta"]
    return 20 / (1 + beta), 5 * math.log1p(beta) + lease.config["model"]["latent_dim"] / 32


def spec_of(space: Mapping[str, Any], run: Mapping[str, Any] | None = None, **study: Any) -> Spec:
    """A spec on the digits."""
    return Spec.from_dict(
        {
            "study": {"name": "toy", **study},
            "data": {"name": "digits"},
            "run": run or {},
            "space": space,
        }
    )


def _stored(spec: Spec) -> dict[str, Any]:
    document = spec.to_dict()
    del document["study"]["storage"]
    return document


@dataclass(frozen=True)
class ToySweep:
    """A study, in a SQLite file unless a URL says where, and the spec it was made from."""

    db: Database
    spec: Spec

    @classmethod
    def create(
        cls, folder: Path, space: Mapping[str, Any], url: str | None = None, **study: Any
    ) -> Self:
        """Makes the tables, Optuna's study and ours."""
        folder.mkdir(exist_ok=True)
        spec = spec_of(space, **study)
        db = open_database(url or f"sqlite:///{folder / 'toy.db'}")
        prepare_schema(db)
        create_optuna_study(db, db.url, spec)
        create_study(
            db,
            replace(
                STUDY,
                name="toy",
                spec=_stored(spec),
                trials_wanted=spec.study.trials,
                distortion=spec.study.distortion,
            ),
        )
        return cls(db, spec)

    def desk(self, worker_id: str = "worker") -> SuggestionDesk:
        """A desk of that worker."""
        return kept(
            SuggestionDesk(
                self.db,
                self.db.url,
                study="toy",
                spec=self.spec,
                pixels=PIXELS,
                worker_id=worker_id,
            )
        )

    def take(self, worker_id: str = "worker") -> Lease | None:
        """Leases the next queued trial."""
        return take_trial(self.db, "toy", worker_id, lease_seconds=60, max_attempts=3)

    def finish(self, lease: Lease, outcome: Outcome) -> None:
        """Stores an outcome."""
        if outcome is None:
            diverge_trial(self.db, lease, "the loss was NaN in epoch 1, step 1")
            return
        rate, distortion = outcome
        measured = replace(
            EVALUATION, rate_nats=rate, distortion_se=distortion, distortion_nll_nats=distortion
        )
        finish_trial(self.db, lease, measured, [], [])

    def fail(self, lease: Lease) -> None:
        """Stores a crash of our own code."""
        fail_trial(self.db, lease, "Traceback: …")

    def trials(self) -> list[TrialRecord]:
        """All trials of the record."""
        return query_trials(self.db, "toy")

    def drive(self, outcome: Callable[[Lease], Outcome], batch: int = 1) -> None:
        """One worker, from where the study stands to its end."""
        desk = self.desk()
        while True:
            lease = self.take()
            if lease is not None:
                self.finish(lease, outcome(lease))
            elif not desk.refill(batch).queued:
                return
