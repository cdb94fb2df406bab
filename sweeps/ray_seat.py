"""A worker's place on a Ray cluster, and how the worker ended."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sweeps.launcher import LEFT_EARLY
from sweeps.ray_messages import Ended
from sweeps.worker_process import end_in_words

__all__ = ["Seat", "end_of_worker"]

NOT_INSTALLED = (
    "rdsweep must be installed on every node of the Ray cluster, but is not on one of them: put "
    "it into the nodes' image, or into the job's runtime_env"
)


@final
@dataclass(kw_only=True, eq=False)
class Seat:
    """A place for one worker; who sits there changes with every restart.

    Attributes:
        log: what its workers write to.
        worker_id: the present worker.
        placed: whether Ray found a node for it.
        restarts: how often it was started again since the sweep got on.
        surplus: its worker drains, and is not to come back.
    """

    log: Path
    worker_id: str = ""
    placed: bool = False
    restarts: int = 0
    surplus: bool = False


def end_of_worker(event: Ended) -> str:
    """Why a worker ended before its work."""
    if "No module named" in event.text and "sweeps" in event.text:
        return NOT_INSTALLED
    if event.status is None:
        return event.text
    said_nothing = event.status < 0 or event.status == LEFT_EARLY or not event.text
    return end_in_words(event.status, Path(os.devnull)) if said_nothing else event.text
