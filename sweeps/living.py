"""Who works on a study at the moment, and who starts workers for it."""

from studies.database import Database
from studies.launchers import list_launchers
from studies.records import LauncherRecord, WorkerRecord
from studies.study_records import get_study
from studies.workers import list_workers
from sweeps.liveness import lease_seconds_of, liveness_of

__all__ = ["living_launchers", "living_workers"]

LAUNCHER_SILENCE_SECONDS = 30.0  # it is heard of about every second


def living_workers(db: Database, study: str) -> list[WorkerRecord]:
    """The workers that are not known to be dead.

    Raises:
        StudyNotFound: there is no such study.
    """
    lease_seconds = lease_seconds_of(get_study(db, study))
    workers = list_workers(db, study, ended=False)
    return [worker for worker in workers if liveness_of(worker, lease_seconds) != "dead"]


def living_launchers(db: Database, study: str) -> list[LauncherRecord]:
    """The launchers that look after workers of a study.

    Raises:
        StudyNotFound: there is no such study.
    """
    launchers = list_launchers(db, study, ended=False)
    return [one for one in launchers if liveness_of(one, LAUNCHER_SILENCE_SECONDS) != "dead"]
