"""The Slurm job that this process runs in: its name, its time, and whether it must make room."""

import logging
import os
import time
from dataclasses import dataclass
from typing import Self, final

from sweeps.errors import SweepError
from sweeps.slurm_queue import job_states, seconds_left

_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The job that this process runs in.

    Attributes:
        job_id: as "12", or "12_3" in an array, where the plain number may mean the whole array.
        restarts: how often it has been requeued.
        minutes: the time limit that was asked for; None for the cluster's own.
        started: when this process began, by the monotonic clock.
    """

    job_id: str
    restarts: int
    minutes: float | None
    started: float

    @classmethod
    def here(cls, minutes: float | None) -> Self:
        """Read from the environment that Slurm gives to a job."""
        array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
        return cls(
            job_id=f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"],
            restarts=int(os.environ.get("SLURM_RESTART_COUNT") or 0),
            minutes=minutes,
            started=time.monotonic(),
        )

    def seconds_left(self) -> float | None:
        """How long the job may still run; None without a limit.

        The controller knows best: preemption shortens the time, an administrator may add to it.
        """
        try:
            return seconds_left(self.job_id)
        except SweepError as error:
            _log.warning("%s", error)
        end = os.environ.get("SLURM_JOB_END_TIME")  # not in Slurm 22.05
        if end is not None:
            return float(end) - time.time()
        if self.minutes is None:
            return None
        return self.minutes * 60 - (time.monotonic() - self.started)

    def is_preempted(self) -> bool:
        """Whether Slurm lets it run for a while yet to make room for a more important job.

        If the job ends within that time, Slurm counts it as completed and does not requeue it.
        """
        try:
            state = job_states([self.job_id]).get(self.job_id)
        except SweepError as error:
            _log.warning("%s", error)
            return False
        return state is not None and state.state == "RUNNING" and state.preempted
