"""A real worker in a process of its own, which dies or falls asleep at one point of its work.

python doomed_worker.py URL STUDY WORKER POINT SIGNAL
"""

import signal
import subprocess
import sys
from typing import Any

from doom import doom, launch

POINTS = (
    "before an epoch is stored",
    "before a checkpoint is written",
    "before the model is written",
    "after the model is written",
    "before the result is stored",
)
"""From the first epoch of a trial to its end; see `sweeps.attempt`."""


def start(
    url: str, study: str, worker: str, point: str, number: signal.Signals
) -> subprocess.Popen[str]:
    """Starts such a worker."""
    return launch(__file__, url, study, worker, point, number.name)


def _places() -> dict[str, tuple[Any, str, int, str]]:
    """For each point the object and the name of the function there, at which call, with what."""
    from sweeps import attempt
    from sweeps.directory_store import DirectoryStore
    from sweeps.trial_files import TrialFiles

    return {
        "before an epoch is stored": (attempt, "store_epoch", 2, ""),
        "before a checkpoint is written": (DirectoryStore, "put", 2, "/checkpoint-"),
        "before the model is written": (DirectoryStore, "put", 1, "/model-"),
        "after the model is written": (TrialFiles, "save_model", 1, ""),
        "before the result is stored": (attempt, "finish_trial", 1, ""),
    }


def _main(url: str, study: str, worker: str, point: str, name: str) -> None:
    from studies.database import open_database
    from sweeps.worker import WorkerOptions, run_worker

    owner, function, time, word = _places()[point]
    before, number = point.startswith("before"), signal.Signals[name]
    doom(owner, function, number, before=before, time=time, word=word)
    sys.exit(run_worker(study, open_database(url), WorkerOptions(worker_id=worker)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
