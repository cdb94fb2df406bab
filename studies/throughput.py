"""How fast a study goes on: trials and epochs in its last hour of work, and what that lets expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from sqlalchemy import Connection, case, func, select

from studies.clock import now
from studies.database import Database
from studies.records import FINISHED_STATES
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import AttemptRow, EpochRow, StudyRow, TrialRow

__all__ = ["Throughput", "throughput"]

_WINDOW_SECONDS = 3600.0


@final
@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What a study got done in its last hour of work.

    Attributes:
        seconds: Length of the time that is looked at: an hour, or since work began if that is less.
        trials: Trials that finished in it.
        epochs: Epochs that were trained in it; of an attempt that began before, its share.
        seconds_left: Until the study has its wanted number of trials, if it goes on like this;
            None where it is over, rests, or got nothing done.
    """

    seconds: float
    trials: int
    epochs: float
    seconds_left: float | None

    @property
    def trials_per_hour(self) -> float:
        """Finished trials an hour."""
        return 3600 * self.trials / self.seconds

    @property
    def epochs_per_second(self) -> float:
        """Epochs a second, of all workers together."""
        return self.epochs / self.seconds


class _Work(NamedTuple):
    """An attempt: its start, its end (now if it runs), and the epochs that it trained."""

    started_at: float
    ended_at: float
    epochs: int


@retried
def throughput(database: Database, study: str) -> Throughput | None:
    """Returns how fast the study goes on, or went before it came to rest; None before any work.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        study_id = study_id_of(connection, study)
        end, runs = _last_moment(connection, study_id)
        if end is None:
            return None
        works = _works_after(connection, study_id, end - _WINDOW_SECONDS)
        start = max(end - _WINDOW_SECONDS, min(work.started_at for work in works))
        seconds = max(end - start, 1e-3)
        trials = _finished_since(connection, study_id, start)
        epochs = sum(work.epochs * _share(work, start) for work in works)
        left = _seconds_left(connection, study_id, trials / seconds, epochs / seconds)
    return Throughput(
        seconds=seconds, trials=trials, epochs=epochs, seconds_left=left if runs else None
    )


def _last_moment(connection: Connection, study_id: int) -> tuple[float | None, bool]:
    """Returns when an attempt was last under way, and whether one is now."""
    running = func.coalesce(func.sum(case((AttemptRow.ended_at.is_(None), 1), else_=0)), 0)
    last, count, moment = connection.execute(
        select(func.max(AttemptRow.ended_at), running, now())
        .join(TrialRow, AttemptRow.trial_id == TrialRow.id)
        .where(TrialRow.study_id == study_id)
    ).one()
    return (moment, True) if count else (last, False)


def _works_after(connection: Connection, study_id: int, moment: float) -> Sequence[_Work]:
    ended_at = func.coalesce(AttemptRow.ended_at, now())
    counted = select(func.count()).where(
        EpochRow.trial_id == AttemptRow.trial_id, EpochRow.attempt == AttemptRow.attempt
    )
    epochs = case((TrialRow.attempt == 1, TrialRow.epoch), else_=counted.scalar_subquery())
    rows = connection.execute(
        select(AttemptRow.started_at, ended_at, epochs)
        .join(TrialRow, AttemptRow.trial_id == TrialRow.id)
        .where(TrialRow.study_id == study_id, ended_at >= moment)
    )
    return [_Work(*row) for row in rows]


def _share(work: _Work, start: float) -> float:
    """Returns which part of an attempt lies after the start."""
    if work.started_at >= start:
        return 1.0
    return (work.ended_at - start) / (work.ended_at - work.started_at)


def _finished_since(connection: Connection, study_id: int, moment: float) -> int:
    statement = select(func.count()).where(
        TrialRow.study_id == study_id, TrialRow.finished_at >= moment
    )
    return connection.scalar(statement) or 0


def _seconds_left(
    connection: Connection, study_id: int, trials_per_second: float, epochs_per_second: float
) -> float | None:
    """Returns the time that the missing trials take, by finished trials, or else by epochs."""
    finished = TrialRow.state.in_(FINISHED_STATES)
    wanted, done, epochs, unfinished, behind = connection.execute(
        select(
            func.max(StudyRow.trials_wanted),
            func.coalesce(func.sum(case((finished, 1), else_=0)), 0),
            func.coalesce(func.sum(case((finished, 0), else_=TrialRow.epochs)), 0),
            func.coalesce(func.sum(case((finished, 0), else_=1)), 0),
            func.coalesce(func.sum(case((finished, 0), else_=TrialRow.epoch)), 0),
        )
        .join(TrialRow, TrialRow.study_id == StudyRow.id)
        .where(StudyRow.id == study_id)
    ).one()
    missing = int(wanted) - int(done)
    if missing <= 0:
        return None
    if trials_per_second > 0:
        return missing / trials_per_second
    if epochs_per_second > 0 and unfinished:
        return (missing * int(epochs) / int(unfinished) - int(behind)) / epochs_per_second
    return None
