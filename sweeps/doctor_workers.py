"""Who works on a study: dead workers and launchers, leases that ran out, orders to stop."""

import socket
from collections.abc import Iterator, Sequence
from functools import partial

from studies.database import Database
from studies.launchers import list_launchers
from studies.leases import release_worker
from studies.orders import standing_order
from studies.records import LauncherRecord, StudyRecord, WorkerRecord
from studies.repairs import end_silent_launcher, end_silent_worker, free_expired_sampler
from studies.running_trials import RunningTrial, running_trials
from studies.sampler_lease import sampler_holder
from studies.workers import list_workers
from sweeps.dead_workers import is_dead
from sweeps.durations import in_words
from sweeps.findings import Finding, all_fine, listed, note
from sweeps.liveness import lease_seconds_of, liveness_of
from sweeps.living import LAUNCHER_SILENCE_SECONDS

__all__ = ["check_workers"]

_GONE = "its process is gone"
_GRACE_SECONDS = 2.0  # whoever takes an expired lease needs a moment


def check_workers(db: Database, record: StudyRecord) -> Iterator[Finding]:
    """Yields what became of the processes that work on a study, and of what they held."""
    seconds = lease_seconds_of(record)
    workers = list_workers(db, record.name, ended=False)
    dead = [worker for worker in workers if liveness_of(worker, seconds) == "dead"]
    yield from _workers(db, dead, seconds)
    yield from _launchers(db, record.name)
    yield from _leases(db, record.name)
    yield from _sampler(db, record.name)
    yield from _order(db, record.name)
    yield all_fine("workers", f"{len(workers) - len(dead)} workers at work")


def _workers(db: Database, dead: Sequence[WorkerRecord], seconds: float) -> Iterator[Finding]:
    for worker in dead:
        here = _is_gone(worker)
        why = _GONE if here else f"nothing was heard of it for {in_words(worker.silent_seconds)}"
        yield note(
            "workers",
            f"worker {worker.host}:{worker.pid} on {worker.device} has not ended, but {why}",
            "what it has in hand is taken over once the lease is over; --fix gives it back at once",
            repair=partial(_bury, db, worker, seconds),
        )


def _is_gone(process: WorkerRecord | LauncherRecord) -> bool:
    """Whether it is known to be dead, and not only silent."""
    return process.host == socket.gethostname() and is_dead(process)


def _bury(db: Database, worker: WorkerRecord, seconds: float) -> str:
    """Gives a dead worker's trials back, unless it was heard of meanwhile."""
    place = f"{worker.host}:{worker.pid}"
    why = _GONE
    if not _is_gone(worker):
        why = "nothing was heard of it for longer than a lease"
        if not end_silent_worker(db, worker.id, seconds, why):
            return f"worker {place} was heard of again"
    numbers = release_worker(db, worker.id, why)
    trials = f"; trial {listed(numbers)} is in the queue again" if numbers else ""
    return f"worker {place} counts as ended{trials}"


def _launchers(db: Database, study: str) -> Iterator[Finding]:
    for launcher in list_launchers(db, study, ended=False):
        if liveness_of(launcher, LAUNCHER_SILENCE_SECONDS) == "dead":
            place = f"{launcher.host}:{launcher.pid}"
            silence = f"nothing was heard of it for {in_words(launcher.silent_seconds)}"
            why = _GONE if _is_gone(launcher) else silence
            yield note(
                "launchers",
                f"{launcher.kind} launcher {place} has not ended, but {why}",
                "nobody restarts its workers; `rdsweep run` goes on, --fix notes its end",
                repair=partial(_end_launcher, db, launcher),
            )


def _end_launcher(db: Database, launcher: LauncherRecord) -> str:
    place = f"{launcher.host}:{launcher.pid}"
    if end_silent_launcher(db, launcher.id, launcher.seen_at):
        return f"launcher {place} counts as ended"
    return f"launcher {place} was heard of again"


def _leases(db: Database, study: str) -> Iterator[Finding]:
    workers = {worker.id for worker in list_workers(db, study, ended=False)}
    for trial in running_trials(db, study):
        if trial.lease_seconds < -_GRACE_SECONDS:
            over = in_words(-trial.lease_seconds)
            yield note(
                "leases",
                f"the lease on trial {trial.number} (epoch {trial.epoch}/{trial.epochs}) ran out "
                f"{over} ago",
                "the next worker takes it over; `rdsweep run` starts some",
                repair=None if trial.worker in workers else partial(_give_back, db, trial),
            )
        elif trial.worker not in workers:
            yield note("leases", _waits(trial), "any worker takes it over then")


def _give_back(db: Database, trial: RunningTrial) -> str:
    numbers = release_worker(db, trial.worker or "", "its lease ran out")
    return f"trial {listed(numbers or [trial.number])} is in the queue again"


def _waits(trial: RunningTrial) -> str:
    return (
        f"trial {trial.number} has lost its worker, and its lease lasts another "
        f"{in_words(trial.lease_seconds)}"
    )


def _sampler(db: Database, study: str) -> Iterator[Finding]:
    held = sampler_holder(db, study)
    if held is not None and held[1] < -_GRACE_SECONDS:
        yield note(
            "leases",
            f"the sampler lease of {held[0]} ran out {in_words(-held[1])} ago",
            "the next worker that needs suggestions takes it; --fix frees it",
            repair=partial(_free_sampler, db, study),
        )


def _free_sampler(db: Database, study: str) -> str:
    freed = free_expired_sampler(db, study)
    return "the sampler lease is free" if freed else "the sampler lease is in use again"


def _order(db: Database, study: str) -> Iterator[Finding]:
    order = standing_order(db, study)
    if order is not None:
        yield note(
            "workers",
            f"the study is ordered to stop ({order}): new workers leave at once",
            "`rdsweep run` withdraws the order",
        )
