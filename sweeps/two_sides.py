"""Where our record of a study and Optuna's memory of it disagree, seen in one snapshot.

While a sweep runs, a trial is asked for in Optuna before it is queued in our record; it is
finished in our record before Optuna is told, and marked as told last. So in any snapshot some
differences are normal, and others never are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    String,
    and_,
    cast,
    false,
    func,
    inspect,
    or_,
    select,
)

from studies.clock import now
from studies.database import Database
from studies.fronts import DISTORTION_COLUMNS
from studies.records import FINISHED_STATES, Distortion, StudyRecord
from studies.study_records import study_id_of
from studies.tables import StudyRow, TrialRow
from sweeps.optuna_tables import STUDIES, STUDY_ATTRIBUTES, TRIALS, VALUES

__all__ = [
    "MARK",
    "Disagreements",
    "Numbers",
    "disagreements",
    "has_optuna_tables",
    "stray_studies",
]

MARK: Final = "rdsweep"
"""The attribute of Optuna's studies that are ours."""

_MOST_NUMBERS = 1000
_RATE, _DISTORTION = VALUES.alias("told_rate"), VALUES.alias("told_distortion")
_OVER = ("COMPLETE", "PRUNED", "FAIL")
_SAME = 1e-9  # relative; both sides are doubles, and no database rounds them


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Trials of one kind: the first of their numbers, and how many there are."""

    first: Sequence[int] = ()
    count: int = 0

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(frozen=True, kw_only=True)
class Disagreements:
    """What one side of a study has and the other has not.

    Attributes:
        trials: How many trials the record has.
        study_missing: Whether Optuna has no study of that name.
        study_foreign: Whether the one that it has was not made by rdsweep.
        forgotten: Trials of the record that Optuna does not have.
        not_told: Trials that count as told, and are unfinished in Optuna.
        told_early: Unfinished trials that are finished in Optuna.
        told_otherwise: Finished trials of which Optuna was told something else.
        unknown: Finished trials of Optuna's that the record does not have.
        untold: Finished trials that Optuna is yet to be told of: normal.
        asked: Unfinished trials of Optuna's that are not in the record yet: normal.
        sampler_held: Whether somebody holds the sampler lease, and so sees to the last two.
    """

    trials: int
    study_missing: bool = False
    study_foreign: bool = False
    forgotten: Numbers = Numbers()
    not_told: Numbers = Numbers()
    told_early: Numbers = Numbers()
    told_otherwise: Numbers = Numbers()
    unknown: Numbers = Numbers()
    untold: Numbers = Numbers()
    asked: Numbers = Numbers()
    sampler_held: bool = False


def disagreements(db: Database, record: StudyRecord) -> Disagreements:
    """Compares both sides of a study.

    Raises:
        StudyNotFound: There is no study of that name.
    """
    with db.read() as connection:
        study_id = study_id_of(connection, record.name)
        counted = select(func.count()).where(TrialRow.study_id == study_id)
        trials = connection.scalar(counted) or 0
        optuna_id = _optuna_study(connection, record.name)
        if optuna_id is None:
            return Disagreements(trials=trials, study_missing=True)
        return _compare(connection, study_id, optuna_id, record.distortion, trials)


def has_optuna_tables(db: Database) -> bool:
    """Whether Optuna's tables are there at all."""
    with db.read() as connection:
        return inspect(connection).has_table(STUDIES.name)


def stray_studies(db: Database) -> list[tuple[str, int]]:
    """Optuna's studies that are marked as ours and have no record, with their numbers of trials."""
    with db.read() as connection:
        if not inspect(connection).has_table(STUDIES.name):
            return []
        ours = select(STUDY_ATTRIBUTES.c.study_id).where(STUDY_ATTRIBUTES.c.key == MARK)
        count = select(func.count()).where(TRIALS.c.study_id == STUDIES.c.study_id)
        rows = connection.execute(
            select(STUDIES.c.study_name, count.select_from(TRIALS).scalar_subquery())
            .where(
                STUDIES.c.study_id.in_(ours),
                STUDIES.c.study_name.not_in(select(StudyRow.name)),
            )
            .order_by(STUDIES.c.study_name)
        )
        return [(row[0], row[1]) for row in rows]


def _optuna_study(connection: Connection, name: str) -> int | None:
    if not inspect(connection).has_table(STUDIES.name):
        return None
    return connection.scalar(select(STUDIES.c.study_id).where(STUDIES.c.study_name == name))


def _compare(
    connection: Connection, study_id: int, optuna_id: int, distortion: Distortion, trials: int
) -> Disagreements:
    both = TrialRow.__table__.outerjoin(
        TRIALS, and_(TRIALS.c.study_id == optuna_id, TRIALS.c.number == TrialRow.number)
    )
    mine = TrialRow.study_id == study_id
    state = cast(TRIALS.c.state, String)
    over = state.in_(_OVER)
    finished = TrialRow.state.in_(FINISHED_STATES)

    def ours(condition: ColumnElement[bool], source: FromClause = both) -> Numbers:
        return _numbers(connection, TrialRow.number, source, mine & condition)

    def theirs(condition: ColumnElement[bool]) -> Numbers:
        known = select(TrialRow.number).where(mine)
        here = (TRIALS.c.study_id == optuna_id) & TRIALS.c.number.not_in(known)
        return _numbers(connection, TRIALS.c.number, TRIALS, here & condition)

    told = TrialRow.told.is_(True)
    return Disagreements(
        trials=trials,
        study_foreign=not _is_marked(connection, optuna_id),
        forgotten=ours(TRIALS.c.trial_id.is_(None)),
        not_told=ours(finished & told & TRIALS.c.trial_id.is_not(None) & ~over),
        told_early=ours(~finished & over),
        told_otherwise=ours(
            finished & told & over & ~_told_alike(state, distortion), _with_values(both)
        ),
        unknown=theirs(state.in_(("COMPLETE", "PRUNED"))),
        untold=ours(finished & ~told),
        asked=theirs(~over),
        sampler_held=_is_held(connection, study_id),
    )


def _with_values(both: FromClause) -> FromClause:
    """Adds what Optuna was told, an alias for each objective."""
    for objective, values in enumerate((_RATE, _DISTORTION)):
        mine = (values.c.trial_id == TRIALS.c.trial_id) & (values.c.objective == objective)
        both = both.outerjoin(values, mine)
    return both


def _told_alike(state: ColumnElement[str], distortion: Distortion) -> ColumnElement[bool]:
    """Whether Optuna was told what the record says: see `SuggestionDesk._tell`."""
    column: ColumnElement[Any] = TrialRow.__table__.c[DISTORTION_COLUMNS[distortion]]
    rate: ColumnElement[Any] = TrialRow.__table__.c["rate_nats"]
    infinite = (state == "COMPLETE") & _is_infinite(_RATE) & _is_infinite(_DISTORTION)
    measured = rate.is_not(None) & column.is_not(None)
    same = (state == "COMPLETE") & _is_same(_RATE, rate) & _is_same(_DISTORTION, column)
    alike = or_(
        (TrialRow.state == "complete") & measured & same,
        (TrialRow.state == "complete") & ~measured & infinite,
        (TrialRow.state == "diverged") & infinite,
        (TrialRow.state == "failed") & (state == "FAIL"),
    )
    return func.coalesce(alike, false())


def _is_infinite(values: FromClause) -> ColumnElement[bool]:
    return cast(values.c.value_type, String) == "INF_POS"


def _is_same(values: FromClause, metric: ColumnElement[Any]) -> ColumnElement[bool]:
    finite = cast(values.c.value_type, String) == "FINITE"
    return finite & (func.abs(values.c.value - metric) <= _SAME * (1 + func.abs(metric)))


def _is_marked(connection: Connection, optuna_id: int) -> bool:
    marked = (STUDY_ATTRIBUTES.c.study_id == optuna_id) & (STUDY_ATTRIBUTES.c.key == MARK)
    return bool(
        connection.scalar(select(func.count()).select_from(STUDY_ATTRIBUTES).where(marked))
    )


def _is_held(connection: Connection, study_id: int) -> bool:
    held = (StudyRow.id == study_id) & (StudyRow.sampler_until > now())
    return bool(connection.scalar(select(func.count()).select_from(StudyRow).where(held)))


def _numbers(
    connection: Connection,
    number: ColumnElement[int] | Any,  # noqa: ANN401  (a column of ours, or of Optuna's)
    source: FromClause,
    condition: ColumnElement[bool],
) -> Numbers:
    rows = connection.execute(
        select(number, func.count().over())
        .select_from(source)
        .where(condition)
        .order_by(number)
        .limit(_MOST_NUMBERS)
    ).all()
    if not rows:
        return Numbers()
    return Numbers(first=tuple(row[0] for row in rows), count=rows[0][1])
