"""How many trials a worker takes in hand while others want some as well."""

import math

from studies.database import Database
from studies.launchers import list_launchers
from studies.queue import outlook
from studies.workers import count_living

__all__ = ["fair_share"]


def fair_share(db: Database, study: str, lease_seconds: float) -> int:
    """The trials that are left, shared evenly among the workers that live or are just being started.

    Args:
        db: Where the study is.
        study: Its name.
        lease_seconds: How long a silent worker counts as living, and a launcher as starting some.

    Raises:
        StudyNotFound: There is no such study.
    """
    look = outlook(db, study)
    begun = look.queued + look.running
    left = begun if look.exhausted else max(begun, look.wanted - look.finished)
    workers = max(count_living(db, study, lease_seconds), _expected(db, study, lease_seconds))
    return math.ceil(left / max(1, workers))


def _expected(db: Database, study: str, lease_seconds: float) -> int:
    """How many workers are wanted by launchers so new that some may not have registered yet."""
    return sum(
        launcher.workers_wanted
        for launcher in list_launchers(db, study, ended=False)
        if launcher.seen_at + launcher.silent_seconds - launcher.started_at < lease_seconds
    )
