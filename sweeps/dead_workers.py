"""Workers of this machine whose process is gone, and what becomes of their trials."""

import socket

import psutil

from studies.database import Database
from studies.leases import release_worker
from studies.records import LauncherRecord, WorkerRecord
from studies.workers import list_workers

__all__ = ["is_dead", "recover_dead_workers"]

START_TOLERANCE_SECONDS = 30.0  # the start time of a process moves when the clock is set


def recover_dead_workers(db: Database, study: str) -> list[int]:
    """Gives back the trials of workers on this host whose process is gone; returns their numbers.

    A lease would run out by itself; this spares the wait.

    Raises:
        StudyNotFound: there is no such study.
    """
    numbers: list[int] = []
    for worker in list_workers(db, study, host=socket.gethostname(), ended=False):
        if is_dead(worker):
            numbers += release_worker(db, worker.id, "its process is gone")
    return numbers


def is_dead(worker: WorkerRecord | LauncherRecord) -> bool:
    """Whether a process of this host is gone: no such process, a zombie, or a later process.

    Args:
        worker: what a process of this host registered as.
    """
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
