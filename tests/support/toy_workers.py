"""Workers that train nothing: real leases and a real desk process, outcomes from a function.

They know nothing of Optuna or torch, so that many of them start quickly.
"""

import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import psutil

from studies.database import Database
from studies.errors import LeaseLost
from studies.leases import take_trial
from studies.outcomes import finish_trial
from studies.queue import outlook
from studies.records import Lease
from studies.workers import end_worker, register_worker, touch_worker
from study_examples import EVALUATION
from sweeps.desk_process import DeskProcess

Point = tuple[float, float]
"""(rate, distortion)"""

_PAUSE = 0.02


def smooth(lease: Lease) -> Point:
    """A smooth front: a larger beta buys distortion with rate."""
    beta = lease.config["objective"]["beta"]
    return 20 / (1 + beta), 5 * math.log1p(beta) + lease.config["model"]["latent_dim"] / 32


def register(db: Database, study: str, worker_id: str) -> None:
    """Notes a worker that is this process."""
    register_worker(
        db,
        study,
        worker_id,
        host="here",
        pid=os.getpid(),
        process_started_at=psutil.Process().create_time(),
        device="cpu",
        versions={},
    )


def finish(db: Database, lease: Lease, point: Point) -> None:
    """Stores what a trial gave."""
    rate, distortion = point
    measured = replace(
        EVALUATION, rate_nats=rate, distortion_se=distortion, distortion_nll_nats=distortion
    )
    finish_trial(db, lease, measured, [], [])


@dataclass(frozen=True, kw_only=True)
class ToyWorker:
    """One worker, in the thread that calls `work`.

    Attributes:
        db: the database.
        study: the study's name.
        worker_id: its identity.
        lease_seconds: as in the study's spec.
        outcome: what a trial gives.
    """

    db: Database
    study: str
    worker_id: str
    lease_seconds: float
    outcome: Callable[[Lease], Point] = smooth

    def work(self) -> list[int]:
        """Works until nothing is left to do; the numbers of the trials that it finished."""
        register(self.db, self.study, self.worker_id)
        desk = DeskProcess(self.db, self.study, self.worker_id, self.lease_seconds)
        done: list[int] = []
        try:
            while not outlook(self.db, self.study).over:
                touch_worker(self.db, self.worker_id)
                lease = self._take()
                if lease is None:
                    desk.ensure()
                    time.sleep(_PAUSE * random.uniform(0.5, 1.5))
                    continue
                try:
                    finish(self.db, lease, self.outcome(lease))
                    done.append(lease.number)
                except LeaseLost:
                    continue
        finally:
            desk.close()
            end_worker(self.db, self.worker_id)
        return done

    def _take(self) -> Lease | None:
        return take_trial(
            self.db,
            self.study,
            self.worker_id,
            lease_seconds=self.lease_seconds,
            max_attempts=1000,
        )
