"""A worker's place on a Slurm cluster: its job, and how the job's workers ended."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from sweeps.launcher import WorkerEnd
from sweeps.slurm_job import DONE_MARK, MARK, worker_log, worker_name
from sweeps.slurm_queue import JobState

if TYPE_CHECKING:
    import submitit

__all__ = ["Seat"]

REASONS = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "its job was cancelled",
    "COMPLETED": "left when its job was told to (SIGTERM)",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "took more memory than its job has (run.memory_gib)",
    "PREEMPTED": "had to make room for a more important job",
    "TIMEOUT": "reached the time limit of its job before it had left (run.grace_seconds)",
}
REQUEUED = "its job was requeued by Slurm (a failed node, or too little time to leave)"
UNKNOWN = JobState(state="UNKNOWN", restarts=0, preempted=False, reason="")
CANCELLED = replace(UNKNOWN, state="CANCELLED")


@final
@dataclass(kw_only=True, eq=False)
class Seat:
    """A place for one worker.

    Attributes:
        job: as submitit knows it.
        token: part of the workers' ids.
        logs: the directory that they write to.
        restarts: jobs that took the place of one that failed, since the sweep got on.
        state: what the controller said last; None until it was asked.
        requeues: how often the job came back, as far as that is accounted for.
        surplus: its worker drains, and is not to come back.
    """

    job: "submitit.Job[int]"
    token: str
    logs: Path
    restarts: int = 0
    state: JobState | None = None
    requeues: int = 0
    surplus: bool = False

    def hear(self, state: JobState | None) -> None:
        """Takes note of what the controller says of the job; None if it does not know it.

        It forgets a job some minutes after its end, and at once if it is a task of an array that
        was cancelled before it ran.
        """
        forgotten = UNKNOWN if self._log.exists() else CANCELLED
        self.state = forgotten if state is None else state

    @property
    def job_id(self) -> str:
        """As "12", or "12_3" in an array."""
        return self.job.job_id

    @property
    def worker_id(self) -> str:
        """Under which the worker of the present run is registered."""
        return worker_name(self.job_id, self.requeues, self.token)

    @property
    def taken(self) -> bool:
        """Whether a worker is alive there or will be."""
        return self.state is None or self.state.alive

    @property
    def waits(self) -> bool:
        """Whether no worker runs there at the moment, though one will."""
        return self.state is not None and self.state.waits

    @property
    def is_stuck(self) -> bool:
        """Whether a node could not start the job."""
        return self.state is not None and self.state.is_stuck

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being ended there at the moment."""
        return self.state is not None and not self.state.in_between

    @property
    def found_no_work(self) -> bool:
        """Whether the last worker left because nothing was left to do."""
        return _last_line(self._log) == DONE_MARK

    @property
    def was_dismissed(self) -> bool:
        """Whether a person ended the job, or told it to leave and not to come back."""
        return self.state is not None and self.state.state in ("CANCELLED", "COMPLETED")

    @property
    def reason(self) -> str:
        """Why the job is over, in words."""
        state = self.state or UNKNOWN
        if state.is_stuck:
            return f"its node could not start it ({state.reason})"
        said = _last_line(self._log) or _last_line(self.job.paths.stdout)
        missing = f"its job wrote nothing ({state.state}): do all nodes see {self.logs}?"
        return REASONS.get(state.state) or said or missing

    def lost_workers(self) -> Iterator[WorkerEnd]:
        """The workers that had no time to leave in order when the job was requeued.

        The node may have failed, or only be out of reach: they may be alive.
        """
        while self.state is not None and self.requeues < self.state.restarts:
            if self._log.exists() and not _last_line(self._log).startswith(MARK):
                yield WorkerEnd(
                    worker_id=self.worker_id, reason=REQUEUED, restarted=True, dead=False
                )
            self.requeues += 1

    @property
    def _log(self) -> Path:
        return worker_log(self.logs, self.worker_id)


def _last_line(file: Path) -> str:
    """The last line of a file that is not blank; empty if there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
