"""What runs in a Slurm job: one worker process, and the job's way back into the queue."""

import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, final

from studies.database import open_database
from studies.errors import StudiesError
from studies.orders import standing_order
from sweeps.errors import SweepError
from sweeps.launcher import LEFT_EARLY
from sweeps.slurm_allocation import Allocation
from sweeps.slurm_queue import requeue
from sweeps.storage import VARIABLE
from sweeps.worker_process import worker_environment

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_log = logging.getLogger(__name__)

MARK = "slurm job: "
"""How the last line of a worker's log begins once its job has seen it leave in order."""

DONE_MARK = f"{MARK}its worker found nothing left to do"
LEFT_MARK = f"{MARK}its worker left early"

POLL_SECONDS = 0.5
MARGIN_SECONDS = 5.0
"""So long before Slurm kills the job it is requeued, whether its worker has left or not."""


def worker_name(job_id: str, restarts: int, token: str) -> str:
    """The id under which the worker of a job registers, another one after each requeue.

    Args:
        job_id: as "12_3"; Slurm uses its numbers again.
        restarts: how often the job has been requeued.
        token: tells it from an earlier job of that number.
    """
    return f"slurm-{job_id}-{restarts}-{token}"


def worker_log(logs: Path, worker_id: str) -> Path:
    """The file that a worker writes to."""
    return logs / f"{worker_id}.log"


@final
@dataclass(frozen=True, kw_only=True)
class SlurmJob:
    """The callable that submitit runs in each job.

    On SIGUSR1 (the time limit is near, or the job is preempted with `send_user_signal`) the worker
    is told to leave, which it does at the end of its epoch and with a checkpoint; then the job is
    requeued. On SIGTERM it leaves as well, but the job comes back only if it is being preempted:
    who cancels a job does not want it back.

    It is stored beside the job's files, so it holds no secret: the database's URL comes in the
    environment.

    Attributes:
        study: that the worker works on.
        command: the worker's, without its id and its time limit.
        threads: its CPU threads.
        minutes: the job's time limit; None for the cluster's own.
        token: part of the worker's id.
        logs: the directory for what the worker writes.
    """

    study: str
    command: tuple[str, ...]
    threads: int
    minutes: float | None
    token: str
    logs: Path

    def __call__(self) -> int:
        """Runs the worker to its end; returns 0, or LEFT_EARLY if it left and will not come back.

        Raises:
            SweepError: the worker failed.
            SystemExit: the job is in the queue again.
        """
        signals = _Signals()
        signals.install()
        allocation = Allocation.here(self.minutes)
        worker_id = worker_name(allocation.job_id, allocation.restarts, self.token)
        log = worker_log(self.logs, worker_id)
        with log.open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                self._words(worker_id, allocation.seconds_left()),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=worker_environment(_url(), self.threads),
            )
        signals.pass_on_to(process)
        return _Watch(self.study, allocation, process, signals, log).until_the_end()

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit puts into the queue if the signal comes before the worker was started."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _words(self, worker_id: str, seconds: float | None) -> list[str]:
        words = [*self.command, "--worker-id", worker_id, "--parent-pid", str(os.getpid())]
        return words if seconds is None else [*words, "--time-limit", str(max(1, int(seconds)))]


def _url() -> str:
    url = os.environ.get(VARIABLE)
    if url is None:
        raise SweepError(
            f"{VARIABLE} must be in the job's environment, but it is not: see SLURM_EXPORT_ENV."
        )
    return url


def _is_stopped(study: str) -> bool:
    """Whether all workers are ordered to leave; not if the database does not tell."""
    try:
        database = open_database(_url())
        try:
            return standing_order(database, study) is not None
        finally:
            database.close()
    except StudiesError as error:
        _log.warning("%s", error)
        return False


class _Signals:
    """The signals that came; the first is passed on to the worker, as SIGUSR1.

    Slurm signals this process only or the worker as well, which depends on its `ProctrackType`;
    a second SIGTERM would end the worker on the spot, a second SIGUSR1 does nothing.
    """

    def __init__(self) -> None:
        self.came: frozenset[int] = frozenset()
        self._process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        signal.signal(signal.SIGUSR1, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def pass_on_to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self.came:
            process.send_signal(signal.SIGUSR1)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if not self.came and self._process is not None:
            self._process.send_signal(signal.SIGUSR1)
        self.came |= {number}


class _Watch:
    """Sees a worker to its end, and the job back into the queue."""

    def __init__(
        self,
        study: str,
        allocation: Allocation,
        process: subprocess.Popen[bytes],
        signals: _Signals,
        log: Path,
    ) -> None:
        self._study = study
        self._allocation = allocation
        self._process = process
        self._signals = signals
        self._log = log
        self._heard: frozenset[int] = frozenset()
        self._comes_back = True  # after a worker that left for its time limit, no signal needed
        self._last_moment = float("inf")
        self._requeued = False

    def until_the_end(self) -> int:
        while self._process.poll() is None:
            self._hear()
            if self._comes_back and time.monotonic() > self._last_moment:
                self._requeue()
            time.sleep(POLL_SECONDS)
        self._hear()
        return self._end(self._process.returncode)

    def _hear(self) -> None:
        """After each new signal: what is it for, and how much time does it leave?"""
        if self._signals.came == self._heard or self._requeued:
            return
        self._heard = self._signals.came
        # what Slurm requeues by itself, or has cancelled, it has taken out of its running jobs
        self._comes_back = signal.SIGTERM not in self._heard or self._allocation.is_preempted()
        seconds = self._allocation.seconds_left()
        if seconds is not None:
            self._last_moment = time.monotonic() + seconds - MARGIN_SECONDS

    def _end(self, status: int) -> int:
        if status == 0:
            self._note(DONE_MARK)
            return 0
        as_it_started = bool(self._heard) and -status in (signal.SIGUSR1, signal.SIGTERM)
        if status != LEFT_EARLY and not as_it_started and not self._requeued:
            raise SweepError(self._failure(status))
        if not self._comes_back or _is_stopped(self._study):
            self._note(f"{LEFT_MARK}, as it was asked to")
            return LEFT_EARLY
        self._requeue()
        self._note(f"{LEFT_MARK}; the job goes back into the queue")
        raise SystemExit(LEFT_EARLY)

    def _failure(self, status: int) -> str:
        if status < 0:
            known = {number.value: number.name for number in signal.Signals}
            self._note(f"killed by {known.get(-status, f'signal {-status}')}")
        return f"The worker must end with status 0, but got {status}; see {self._log}."

    def _note(self, line: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    def _requeue(self) -> None:
        """Puts the job back into the queue, once; Slurm then ends all that still runs in it."""
        if not self._requeued:
            requeue(self._allocation.job_id)
        self._requeued = True
