"""How a worker process is started: its command line, its environment, and its end in words."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sweeps.devices import Placement
from sweeps.launcher import LEFT_EARLY, WorkerPlan
from sweeps.storage import VARIABLE

__all__ = ["end_in_words", "worker_command", "worker_environment", "worker_words"]


def worker_words(plan: WorkerPlan, placement: Placement) -> list[str]:
    """The words after `rdsweep` that start a worker of a plan, without its id and its URL.

    Args:
        plan: what the workers are to be.
        placement: device and threads of this one.
    """
    words = ["worker", plan.study, "--device", placement.device]
    words += ["--threads", str(placement.threads)]
    return [*words, "--launcher-id", plan.launcher_id] if plan.launcher_id else words


def worker_command(words: Sequence[str]) -> list[str]:
    """The command that runs `rdsweep` with these words on this machine."""
    # -P: a `reports` or `studies` in the working directory must not hide our packages
    return [sys.executable, "-P", "-m", "sweeps.cli", *words]


def worker_environment(url: str, threads: int) -> dict[str, str]:
    """The environment of a worker that is started here.

    Args:
        url: of the database; it stays off the command line, where every user sees a password.
        threads: CPU threads; libraries read them before the worker itself can set them.
    """
    count = str(threads)
    return {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, VARIABLE: url}


def end_in_words(returncode: int, log: Path, log_start: int = 0) -> str:
    """Why a process ended: its signal, or the last line that it wrote.

    Args:
        returncode: as `subprocess` gives it, negative for a signal.
        log: what the process wrote.
        log_start: where in the log its own lines begin.
    """
    if returncode < 0:
        known = {number.value: number.name for number in signal.Signals}
        return f"killed by {known.get(-returncode, f'signal {-returncode}')}"
    if returncode == LEFT_EARLY:
        return "left early"
    try:
        with log.open("rb") as stream:
            stream.seek(log_start)
            lines = stream.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    last = lines[-1] if lines else f"ended with exit status {returncode}"
    return last.removeprefix("rdsweep: ")
