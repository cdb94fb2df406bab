"""Workers as Slurm jobs: submitted as arrays, watched through the queue, requeued by themselves."""

import importlib.util
import logging
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from sweeps.errors import SweepError
from sweeps.launcher import LEFT_EARLY, MAX_RESTARTS, Launcher, LauncherKind, WorkerEnd, WorkerPlan
from sweeps.slurm_job import LEFT_MARK, SlurmJob, worker_log, worker_name
from sweeps.slurm_queue import JobState, cancel, job_states, run_slurm, terminate
from sweeps.slurm_submission import asks_for_gpus_itself, gpus_of, problem, submit, threads_of

if TYPE_CHECKING:
    import submitit

_log = logging.getLogger(__name__)

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")
LOOK_SECONDS = 2.0
"""So long an answer of the controller holds: many launchers may ask it."""

KILL_SECONDS = 30.0
_REASONS = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "its job was cancelled",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "took more memory than its job has (run.memory_gib)",
    "PREEMPTED": "made room for a more important job",
    "TIMEOUT": "reached its job's time limit before it had left (run.grace_seconds)",
}


_GONE = JobState(state="GONE", restarts=0, preempted=False, reason="")


@dataclass(kw_only=True)
class _Seat:
    """A place for one worker: a job, and after its end perhaps another."""

    job: "submitit.Job[int]"
    token: str
    state: JobState | None = None  # None until the controller was asked
    requeues: int = 0  # of this job, that are accounted for
    restarts: int = 0  # jobs that took the place of one that failed, since `forgive`
    retired: bool = False  # surplus: its worker drains
    over: bool = False

    @property
    def job_id(self) -> str:
        return self.job.job_id

    @property
    def worker_id(self) -> str:
        return worker_name(self.job_id, self.requeues, self.token)

    @property
    def alive(self) -> bool:
        return not self.over and (self.state is None or self.state.alive)

    @property
    def waits(self) -> bool:
        return self.alive and self.state is not None and self.state.waits


@final
class SlurmLauncher(Launcher):
    """Runs each worker in a Slurm job.

    Jobs outlive the process that submitted them: a worker whose job is requeued (its time limit
    is near, it was preempted, its node failed) comes back without a launcher. What fails
    otherwise is submitted again by this launcher, within a limit.

    Args:
        plan: what the workers are to be; its `logs` must be a directory that all nodes see.
    """

    kind: ClassVar[LauncherKind] = "slurm"
    spans_machines: ClassVar[bool] = True

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._seats: list[_Seat] = []
        self._looked = float("-inf")
        self._stopping = False
        self._ended_well = False

    def check(self) -> None:
        """Passes if Slurm takes jobs."""
        if importlib.util.find_spec("submitit") is None:
            message = "The launcher slurm needs submitit: pip install 'rdsweep[slurm]'."
            raise SweepError(message)
        missing = [name for name in COMMANDS if shutil.which(name) is None]
        if missing:
            message = (
                f"The launcher slurm needs Slurm's commands on the PATH, but there is no "
                f"{missing[0]!r}; start the sweep on a machine that submits jobs."
            )
            raise SweepError(message)
        unfit = problem(self._plan)
        if unfit is not None:
            raise SweepError(f"{unfit}.")
        run_slurm(["scontrol", "ping"])

    def scale(self, workers: int) -> list[str]:
        """Makes places for so many workers; returns the ids of those that are to drain."""
        places = [seat for seat in self._seats if not seat.retired]
        if workers >= len(places):
            self._seats += self._submitted(workers - len(places))
            return []
        self._look(at_once=True)
        surplus = sorted(places, key=lambda seat: (seat.alive, not seat.waits))
        return self._retire(surplus[: len(places) - workers])

    def ends(self) -> list[WorkerEnd]:
        """The workers that ended before their work since the last call."""
        self._look()
        found: list[WorkerEnd] = []
        failed: list[tuple[_Seat, WorkerEnd]] = []
        for seat in self._seats:
            if seat.over or seat.state is None or seat.state.in_between:
                continue
            found += self._requeues(seat, seat.state)
            if not seat.state.alive:
                end = self._end(seat, seat.state)
                failed += [] if end is None else [(seat, end)]
        again = [seat for seat, end in failed if end.restarted]
        ...

    @property
    def running(self) -> int:
        """How many workers are alive or waiting for a machine."""
        self._look()
        return sum(seat.alive for seat in self._seats)

    @property
    def ended_well(self) -> bool:
        """Whether a worker found nothing left to do."""
        return self._ended_well

    def forgive(self) -> None:
        """Counts restarts anew: the sweep has got on since the last end."""
        for seat in self._seats:
            seat.restarts = 0

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch, and cancels the jobs that wait."""
        self._stopping = True
        self._look(at_once=True)
        self._cancel_waiting(self._seats)
        terminate([seat.job_id for seat in self._seats if seat.alive])

    def kill(self) -> list[str]:
        """Ends every job at once; returns the ids of the workers that were alive."""
        self._stopping = True
        self._look(at_once=True)
        ended = [seat for seat in self._seats if seat.alive]
        cancel([seat.job_id for seat in ended], at_once=True)
        ids = [seat.worker_id for seat in ended if not seat.waits]
        ...
