"""A real desk in a process of its own, which dies or falls asleep at one point of its work.

python doomed_desk.py URL HOLDER POINT SIGNAL
"""

import signal
import subprocess
import sys
from typing import Any

from doom import doom, launch

POINTS = (
    "before ask",
    "after ask",
    "before the commit",
    "after the commit",
    "before the queue",
    "after the queue",
    "before telling",
    "after telling",
)
"""From the sampler's suggestion to its being told the outcome; see `sweeps.suggestions`."""


def start(url: str, holder: str, point: str, number: signal.Signals) -> subprocess.Popen[str]:
    """Starts such a desk for the study "toy"; the sampler lease is the holder's already.

    It sends itself the signal when it comes to the point for the second time.
    """
    return launch(__file__, url, holder, point, number.name)


def _places() -> dict[str, tuple[Any, str]]:
    """For each point the object and the name of the function that is called there."""
    from optuna.study import Study

    from sweeps import suggestions
    from sweeps.pending_trials import PendingTrials

    return {
        "before ask": (Study, "ask"),
        "after ask": (Study, "ask"),
        "before the commit": (PendingTrials, "commit"),
        "after the commit": (PendingTrials, "commit"),
        "before the queue": (suggestions, "add_trials"),
        "after the queue": (suggestions, "add_trials"),
        "before telling": (PendingTrials, "set_trial_state_values"),
        "after telling": (PendingTrials, "set_trial_state_values"),
    }


def _main(url: str, holder: str, point: str, name: str) -> None:
    from studies.database import open_database
    from sweeps.desk import run_desk

    owner, function = _places()[point]
    number = signal.Signals[name]
    doom(owner, function, number, before=point.startswith("before"), time=2)
    run_desk("toy", open_database(url), holder)


if __name__ == "__main__":
    _main(*sys.argv[1:])
