"""Waiting for what other processes do, on a machine that may be busy."""

import time
from collections.abc import Callable

SECONDS = 180.0


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Returns when the condition holds; fails if it does not within that time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition did not come true within {seconds:g} s"
        time.sleep(0.02)
