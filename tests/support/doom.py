"""Processes that send themselves a signal when they come to a certain point of their work."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def launch(script: str, *words: str) -> subprocess.Popen[str]:
    """Starts a script with the import path of this process."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", script, *words],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def doom(
    owner: Any, name: str, number: signal.Signals, *, before: bool, time: int = 1, word: str = ""
) -> None:
    """Makes this process send itself a signal at a function's n-th call.

    Args:
        owner: the module or class that has the function.
        name: the function's.
        number: the signal.
        before: whether it comes before the function has done anything, or after.
        time: at which call.
        word: only calls with a word that contains this one are counted.
    """
    function: Callable[..., Any] = getattr(owner, name)
    calls, struck = 0, False

    def doomed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls, struck
        calls += not word or any(isinstance(value, str) and word in value for value in args)
        fatal = calls == time and not struck
        struck |= fatal
        if fatal and before:
            os.kill(os.getpid(), number)
        result = function(*args, **kwargs)
        if fatal and not before:
            os.kill(os.getpid(), number)
        return result

    setattr(owner, name, doomed)
