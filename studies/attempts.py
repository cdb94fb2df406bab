"""The history of trials: which attempts were made at them, by whom, and how each ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, final

from sqlalchemy import func, select

from studies.database import Database
from studies.leases import Outcome
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import AttemptRow, TrialRow

__all__ = ["AttemptRecord", "attempts_of", "count_attempts", "repeated_trials"]


@final
@dataclass(frozen=True, kw_only=True)
class AttemptRecord:
    """One worker's try at a trial.

    Attributes:
        number: Number of the trial.
        attempt: From 1.
        worker: Identity of the worker that made it.
        started_at: UTC seconds.
        ended_at: UTC seconds; None while it runs.
        seconds: Seconds of training in it (epochs only).
        outcome: "complete", "diverged", "failed", "released" or "lost"; None while it runs.
        reason: Why it ended so.
    """

    number: int
    attempt: int
    worker: str
    started_at: float
    ended_at: float | None
    seconds: float
    outcome: Outcome | None
    reason: str | None


_COLUMNS: list[Any] = [
    getattr(TrialRow if field.name == "number" else AttemptRow, field.name)
    for field in fields(AttemptRecord)
]


@retried
def attempts_of(
    database: Database, study: str, numbers: Iterable[int]
) -> dict[int, tuple[AttemptRecord, ...]]:
    """Returns the attempts at each of these trials that has any, the first first.

    Args:
        database: Where the study is.
        study: Its name.
        numbers: Of the trials, at most some thousands.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    found: defaultdict[int, list[AttemptRecord]] = defaultdict(list)
    with database.read() as connection:
        rows = connection.execute(
            select(*_COLUMNS)
            .join_from(AttemptRow, TrialRow, AttemptRow.trial_id == TrialRow.id)
            .where(
                TrialRow.study_id == study_id_of(connection, study),
                TrialRow.number.in_(list(numbers)),
            )
            .order_by(TrialRow.number, AttemptRow.attempt)
        )
        for row in rows:
            found[row.number].append(AttemptRecord(**row._asdict()))
    return {number: tuple(attempts) for number, attempts in found.items()}


@retried
def count_attempts(database: Database, study: str) -> dict[str | None, int]:
    """Returns how many attempts ended in each way that occurs; None stands for those that run.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        rows = connection.execute(
            select(AttemptRow.outcome, func.count())
            .join(TrialRow, AttemptRow.trial_id == TrialRow.id)
            .where(TrialRow.study_id == study_id_of(connection, study))
            .group_by(AttemptRow.outcome)
            .order_by(AttemptRow.outcome)
        )
        return {outcome: count for outcome, count in rows}  # noqa: C416  (rows are no pairs)


@retried
def repeated_trials(database: Database, study: str, limit: int) -> tuple[list[int], int]:
    """Returns the trials that took more than one attempt, and how many there are of them.

    Those that have not finished come first, then the others, the last finished first.

    Args:
        database: Where the study is.
        study: Its name.
        limit: At most so many numbers.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        repeated = (TrialRow.study_id == study_id_of(connection, study)) & (TrialRow.attempt > 1)
        count = connection.scalar(select(func.count()).where(repeated)) or 0
        numbers = connection.scalars(
            select(TrialRow.number)
            .where(repeated)
            .order_by(TrialRow.finished_at.desc().nulls_first(), TrialRow.number.desc())
            .limit(limit)
        )
        return list(numbers), count
