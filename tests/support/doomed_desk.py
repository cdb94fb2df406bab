"""A real desk in a process of its own, which dies or falls asleep at one point of its work.

    python doomed_desk.py URL HOLDER POINT SIGNAL

sends itself the signal (SIGKILL, SIGSTOP) when it comes to the point for the second time.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINTS = (
    "before ask",
    "after ask",
    "before the mark",
    "before the queue",
    "after the queue",
    "before telling",
    "after telling",
)
"""From the sampler's suggestion to its being told the outcome; see `sweeps.suggestions`."""

_TIME = 2


def start(url: str, holder: str, point: str, number: signal.Signals) -> subprocess.Popen[str]:
    """Starts such a desk for the study "toy"; the sampler lease is the holder's already."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, __file__, url, holder, point, number.name],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _places() -> dict[str, tuple[Any, str]]:
    """For each point the object and the name of the function that is called there."""
    from optuna.study import Study
    from optuna.trial import Trial

    from sweeps import suggestions

    return {
        "before ask": (Study, "ask"),
        "after ask": (Study, "ask"),
        "before the mark": (Trial, "set_user_attr"),
        "before the queue": (suggestions, "add_trials"),
        "after the queue": (suggestions, "add_trials"),
        "before telling": (Study, "tell"),
        "after telling": (Study, "tell"),
    }


def _doom(point: str, number: signal.Signals) -> None:
    owner, name = _places()[point]
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def doomed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if point.startswith("before") and calls == _TIME:
            os.kill(os.getpid(), number)
        result = function(*args, **kwargs)
        if not point.startswith("before") and calls == _TIME:
            os.kill(os.getpid(), number)
        return result

    setattr(owner, name, doomed)


def _main(url: str, holder: str, point: str, name: str) -> None:
    from studies.database import open_database
    from sweeps.desk import run_desk

    _doom(point, signal.Signals[name])
    run_desk("toy", open_database(url), holder)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # its place is further behind, as in the tests
    _main(*sys.argv[1:])
