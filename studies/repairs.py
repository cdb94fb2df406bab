"""What can be put right in a record without losing any of it; each asks again before it changes.

Every function is one transaction, safe to repeat, and safe while workers go on.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, exists, or_, select, update

from studies.clock import now
from studies.database import Database
from studies.records import FINISHED_STATES
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import AttemptRow, LauncherRow, StudyRow, TrialRow, WorkerRow

__all__ = [
    "close_open_attempts",
    "drop_idle_leases",
    "end_silent_launcher",
    "end_silent_worker",
    "forget_early_tells",
    "free_expired_sampler",
    "mark_untold",
]

_REASON = "it was found open after its trial had gone on without it"


@retried
def mark_untold(database: Database, study: str, numbers: Iterable[int]) -> int:
    """Notes that the sampler has yet to be told of these finished trials; returns how many.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    return _update_trials(
        database,
        study,
        TrialRow.number.in_(list(numbers))
        & TrialRow.state.in_(FINISHED_STATES)
        & TrialRow.told.is_(True),
        told=False,
    )


@retried
def forget_early_tells(database: Database, study: str) -> int:
    """Notes that the sampler has not been told of trials that are unfinished; returns how many.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    early = TrialRow.told.is_(True) & TrialRow.state.not_in(FINISHED_STATES)
    return _update_trials(database, study, early, told=False)


@retried
def drop_idle_leases(database: Database, study: str) -> int:
    """Ends the leases on trials that nobody runs; returns how many there were.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    idle = (TrialRow.state != "running") & TrialRow.lease_until.is_not(None)
    return _update_trials(database, study, idle, lease_until=None)


@retried
def close_open_attempts(database: Database, study: str) -> int:
    """Ends the attempts that no worker makes any more; returns how many there were.

    They count as released: no trial loses one of its attempts for it.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        current = exists().where(
            TrialRow.id == AttemptRow.trial_id,
            TrialRow.state == "running",
            TrialRow.attempt == AttemptRow.attempt,
        )
        mine = select(TrialRow.id).where(TrialRow.study_id == study_id)
        closed = connection.execute(
            update(AttemptRow)
            .where(AttemptRow.trial_id.in_(mine), AttemptRow.ended_at.is_(None), ~current)
            .values(ended_at=now(), outcome="released", reason=_REASON)
        )
        return closed.rowcount


@retried
def end_silent_worker(database: Database, worker_id: str, seconds: float, reason: str) -> bool:
    """Returns whether a worker was silent for so long, and is noted as ended now.

    Args:
        database: Where it is registered.
        worker_id: The worker.
        seconds: For how long nothing may have been heard of it.
        reason: Why it counts as ended.
    """
    with database.write() as connection:
        ended = connection.execute(
            update(WorkerRow)
            .where(
                WorkerRow.id == worker_id,
                WorkerRow.ended_at.is_(None),
                WorkerRow.seen_at < now() - seconds,
            )
            .values(ended_at=now(), reason=reason)
        )
        return ended.rowcount == 1


@retried
def end_silent_launcher(database: Database, launcher_id: str, seen_at: float) -> bool:
    """Returns whether a launcher was not heard of since then, and is noted as ended now.

    Args:
        database: Where it is registered.
        launcher_id: The launcher.
        seen_at: When it was last heard of, as `list_launchers` told.
    """
    with database.write() as connection:
        ended = connection.execute(
            update(LauncherRow)
            .where(
                LauncherRow.id == launcher_id,
                LauncherRow.ended_at.is_(None),
                LauncherRow.seen_at <= seen_at,
            )
            .values(ended_at=now())
        )
        return ended.rowcount == 1


@retried
def free_expired_sampler(database: Database, study: str) -> bool:
    """Returns whether a sampler lease had run out, and is nobody's now."""
    with database.write() as connection:
        freed = connection.execute(
            update(StudyRow)
            .where(
                StudyRow.name == study,
                or_(
                    StudyRow.sampler_until <= now(),
                    and_(StudyRow.sampler_worker.is_not(None), StudyRow.sampler_until.is_(None)),
                ),
            )
            .values(sampler_worker=None, sampler_until=None)
        )
        return freed.rowcount == 1


def _update_trials(
    database: Database, study: str, condition: ColumnElement[bool], **values: object
) -> int:
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        changed = connection.execute(
            update(TrialRow).where(TrialRow.study_id == study_id, condition).values(values)
        )
        return changed.rowcount
