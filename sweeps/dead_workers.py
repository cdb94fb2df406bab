"""Which workers of a study live, and what becomes of the trials of those that died here."""

import socket

import psutil

from studies.database import Database
from studies.leases import release_worker
from studies.records import WorkerRecord
from studies.study_records import get_study
from studies.workers import list_workers

__all__ = ["living_workers", "recover_dead_workers"]

START_TOLERANCE_SECONDS = 30.0  # the start time of a process moves when the clock is set


def recover_dead_workers(db: Database, study: str) -> list[int]:
    """Gives back the trials of workers on this host whose process is gone; returns their numbers.

    A lease would run out by itself; this spares the wait.

    Raises:
        StudyNotFound: there is no such study.
    """
    numbers: list[int] = []
    for worker in list_workers(db, study, host=socket.gethostname(), ended=False):
        if _is_dead(worker):
            numbers += release_worker(db, worker.id, "its process is gone")
    return numbers


def living_workers(db: Database, study: str) -> list[WorkerRecord]:
    """The workers that were heard of within a lease, but for those whose process is known dead.

    Raises:
        StudyNotFound: there is no such study.
    """
    lease_seconds = float(get_study(db, study).spec["run"]["lease_seconds"])
    here = socket.gethostname()
    return [
        worker
        for worker in list_workers(db, study, ended=False)
        if worker.silent_seconds <= lease_seconds
        and not (worker.host == here and _is_dead(worker))
    ]


def _is_dead(worker: WorkerRecord) -> bool:
    """Whether a worker of this host is gone: no such process, a zombie, or a later process."""
    try:
        process = psutil.Process(worker.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        started = process.create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return abs(started - worker.process_started_at) > START_TOLERANCE_SECONDS
