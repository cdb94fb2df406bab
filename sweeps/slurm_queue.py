"""What Slurm says of jobs, and what it is told to do with them, through its own commands.

Only the controller is asked (`squeue`, `scontrol`, `scancel`), never `sacct`: many clusters have
no accounting database. A controller forgets a finished job after a while (`MinJobAge`).
"""

import logging
import re
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

from sweeps.errors import SweepError

_log = logging.getLogger(__name__)

COMMAND_SECONDS = 60.0
_WIDTHS = {"JobArrayID": 40, "State": 24, "RestartCnt": 12, "PreemptTime": 24, "Reason": 120}
_WAITING = (
    "CONFIGURING",
    "PENDING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
    "SUSPENDED",
)
_ACTIVE = ("COMPLETING", "RESIZING", "RUNNING", "SIGNALING", "STAGE_OUT", "STOPPED")
_DURATION = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


@final
@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job as the controller sees it.

    Attributes:
        state: Slurm's word in capitals, as "RUNNING".
        restarts: how often it has been requeued.
        preempted: it has been told to make room for a more important job.
        reason: why it waits, in Slurm's words.
    """

    state: str
    restarts: int
    preempted: bool
    reason: str

    @property
    def is_stuck(self) -> bool:
        """Whether a node could not start it: Slurm then holds it until somebody lets it go."""
        return self.state == "PENDING" and self.reason.startswith("launch failed")

    @property
    def waits(self) -> bool:
        """Whether nothing of it runs at the moment, though it will."""
        return self.state in _WAITING and not self.is_stuck

    @property
    def alive(self) -> bool:
        """Whether it runs or will run."""
        return self.waits or self.state in _ACTIVE

    @property
    def in_between(self) -> bool:
        """Whether its processes are being ended, before it is over or waits again."""
        return self.state == "COMPLETING"


def job_states(job_ids: Collection[str]) -> dict[str, JobState]:
    """What the controller knows of those jobs; one that it has forgotten is missing.

    Args:
        job_ids: as "12", or "12_3" for the task of an array.

    Raises:
        SweepError: the controller does not answer.
    """
    if not job_ids:
        return {}
    fields = ",".join(f"{name}:{width}" for name, width in _WIDTHS.items())
    arrays = sorted({job_id.partition("_")[0] for job_id in job_ids})
    command = ["squeue", "--noheader", "--array", "--states=all", f"--Format={fields}"]
    try:
        text = run_slurm([*command, f"--jobs={','.join(arrays)}"])
    except SweepError as error:
        if "Invalid job id" in str(error):  # all of them are forgotten
            return {}
        raise
    states = dict(_parse(line) for line in text.splitlines() if line.strip())
    return {job_id: states[job_id] for job_id in job_ids if job_id in states}


def _parse(line: str) -> tuple[str, JobState]:
    """A line of `squeue`, whose columns have fixed widths."""
    cells, start = {}, 0
    for name, width in _WIDTHS.items():
        cells[name] = line[start : start + width].strip()
        start += width
    return cells["JobArrayID"], JobState(
        state=cells["State"].upper(),
        restarts=int(cells["RestartCnt"] or 0),
        preempted=cells["PreemptTime"][:1].isdigit(),
        reason=cells["Reason"],
    )


def seconds_left(job_id: str) -> float | None:
    """How long a running job may still run; None without a limit.

    Raises:
        SweepError: the controller does not answer.
    """
    text = run_slurm(["squeue", "--noheader", f"--jobs={job_id}", "--format=%L"]).strip()
    return duration_seconds(text)


def duration_seconds(text: str) -> float | None:
    """Seconds in Slurm's notation (`[days-][hours:]minutes:seconds`); None for "UNLIMITED"."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def requeue(job_id: str, attempts: int = 5) -> None:
    """Puts a job back into the queue; what still runs in it is ended.

    Raises:
        SweepError: the controller refused or did not answer, `attempts` times.
    """
    for attempt in range(1, attempts + 1):
        try:
            run_slurm(["scontrol", "requeue", job_id])
        except SweepError:
            if attempt == attempts:
                raise
            time.sleep(attempt)
        else:
            return


def cancel(job_ids: Sequence[str], *, at_once: bool = False) -> None:
    """Cancels jobs; those that have ended do not matter.

    Args:
        job_ids: which.
        at_once: without the time (`KillWait`) that Slurm gives to running ones.

    Raises:
        SweepError: the controller does not answer.
    """
    if not job_ids:
        return
    if at_once:
        _try(["scancel", "--quiet", "--signal=KILL", "--full", *job_ids])
    run_slurm(["scancel", "--quiet", *job_ids])


def terminate(job_ids: Sequence[str]) -> None:
    """Sends SIGTERM to the running ones of some jobs, and does nothing else to them."""
    if job_ids:
        # without the state, scancel tries for a minute and a half to signal a waiting one
        _try(["scancel", "--quiet", "--state=RUNNING", "--signal=TERM", *job_ids])


def _try(command: Sequence[str]) -> None:
    """Runs a signalling command, which fails if any of its jobs has just ended."""
    try:
        run_slurm(command)
    except SweepError as error:
        _log.debug("%s", error)


def run_slurm(command: Sequence[str]) -> str:
    """Runs one of Slurm's commands and returns what it wrote.

    Raises:
        SweepError: it is not installed or failed.
    """
    try:
        done = subprocess.run(  # noqa: S603 - Slurm's commands with arguments of our own
            command, capture_output=True, text=True, check=True, timeout=COMMAND_SECONDS
        )
    except FileNotFoundError as error:
        message = f"Slurm's command {command[0]!r} must be on the PATH, but it is not."
        raise SweepError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"`{command[0]}` must answer within {COMMAND_SECONDS:.0f} s, but did not."
        raise SweepError(message) from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or f"exit status {error.returncode}").strip()
        message = f"`{command[0]}` must succeed, but: {said.splitlines()[-1]}"
        raise SweepError(message) from error
    return done.stdout
