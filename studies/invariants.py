"""What holds for every trial of a sound database at any moment, and the trials of which it does not.

Each write is one transaction, so a snapshot shows none of these broken while a sweep runs, however
its workers die. What is broken was changed with other tools, or by a fault of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

from sqlalchemy import ColumnElement, Exists, ScalarSelect, Select, exists, func, select
from sqlalchemy.orm import aliased

from studies.database import Database
from studies.records import FINISHED_STATES
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import ArtifactRow, AttemptRow, EpochRow, LatentRow, TrialRow

__all__ = ["INVARIANTS", "BrokenInvariant", "Invariant", "broken_invariants"]

_MOST_NUMBERS = 8


@final
@dataclass(frozen=True, kw_only=True)
class Invariant:
    """Something that holds for every trial.

    Attributes:
        name: Its name.
        must: What holds, as a sentence that begins with the trial.
        broken: The condition under which it does not.
    """

    name: str
    must: str
    broken: Callable[[], ColumnElement[bool]]


@final
@dataclass(frozen=True, kw_only=True)
class BrokenInvariant:
    """An invariant that does not hold for some trials of a study.

    Attributes:
        name: Of the invariant.
        must: What should hold.
        numbers: The first of the trials.
        count: How many trials there are.
    """

    name: str
    must: str
    numbers: tuple[int, ...]
    count: int


@retried
def broken_invariants(database: Database, study: str) -> list[BrokenInvariant]:
    """Returns the invariants that some trials of a study break, all seen in one snapshot.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    found = []
    with database.read() as connection:
        study_id = study_id_of(connection, study)
        for invariant in INVARIANTS:
            rows = connection.execute(_breaking(study_id, invariant)).all()
            if rows:
                numbers = tuple(row[0] for row in rows)
                found.append(
                    BrokenInvariant(
                        name=invariant.name,
                        must=invariant.must,
                        numbers=numbers,
                        count=rows[0][1],
                    )
                )
    return found


def _breaking(study_id: int, invariant: Invariant) -> Select[Any]:
    columns: list[Any] = [TrialRow.number, func.count().over()]
    return (
        select(*columns)
        .where(TrialRow.study_id == study_id, invariant.broken())
        .order_by(TrialRow.number)
        .limit(_MOST_NUMBERS)
    )


def _running_without_lease() -> ColumnElement[bool]:
    held = TrialRow.worker.is_not(None) & TrialRow.lease_until.is_not(None)
    return (TrialRow.state == "running") & ~held


def _leased_at_rest() -> ColumnElement[bool]:
    return (TrialRow.state != "running") & TrialRow.lease_until.is_not(None)


def _running_without_attempt() -> ColumnElement[bool]:
    return (TrialRow.state == "running") & ~_open_attempt(AttemptRow.attempt == TrialRow.attempt)


def _attempt_left_open() -> ColumnElement[bool]:
    late = (AttemptRow.attempt != TrialRow.attempt) | (TrialRow.state != "running")
    return _open_attempt(late)


def _open_attempt(condition: ColumnElement[bool]) -> Exists:
    return exists().where(
        AttemptRow.trial_id == TrialRow.id, AttemptRow.ended_at.is_(None), condition
    )


def _attempts_miscounted() -> ColumnElement[bool]:
    return _count_of(AttemptRow) != TrialRow.attempt


def _deaths_miscounted() -> ColumnElement[bool]:
    return _count_of(AttemptRow, AttemptRow.outcome == "lost") != TrialRow.deaths


def _not_ended_once() -> ColumnElement[bool]:
    ended = TrialRow.state.in_(("complete", "diverged"))
    return ended & (_count_of(AttemptRow, AttemptRow.outcome == TrialRow.state) != 1)


def _without_evaluation() -> ColumnElement[bool]:
    measured = (
        TrialRow.rate_nats.is_not(None)
        & TrialRow.distortion_se.is_not(None)
        & TrialRow.distortion_nll_nats.is_not(None)
        & TrialRow.elbo_nats.is_not(None)
    )
    return (TrialRow.state == "complete") & ~measured


def _without_latents() -> ColumnElement[bool]:
    return (TrialRow.state == "complete") & (_count_of(LatentRow) != TrialRow.latent_dim)


def _without_reason() -> ColumnElement[bool]:
    return TrialRow.state.in_(("diverged", "failed")) & TrialRow.error.is_(None)


def _ends_disagree() -> ColumnElement[bool]:
    return TrialRow.state.in_(FINISHED_STATES) != TrialRow.finished_at.is_not(None)


def _told_too_early() -> ColumnElement[bool]:
    return TrialRow.told & TrialRow.state.not_in(FINISHED_STATES)


def _epochs_with_gaps() -> ColumnElement[bool]:
    # a first epoch, a last one and as many as the last one's number: none is missing
    last = select(func.coalesce(func.max(EpochRow.epoch), 0)).where(
        EpochRow.trial_id == TrialRow.id
    )
    whole = (last.scalar_subquery() == TrialRow.epoch) & (_count_of(EpochRow) == TrialRow.epoch)
    return ~whole


def _reused_from_nothing() -> ColumnElement[bool]:
    source = aliased(TrialRow)
    same = exists().where(
        source.study_id == TrialRow.study_id,
        source.number == TrialRow.reused_from,
        source.state == TrialRow.state,
        source.reused_from.is_(None),
    )
    return TrialRow.reused_from.is_not(None) & ~same


def _contents_cut() -> ColumnElement[bool]:
    return exists().where(
        ArtifactRow.trial_id == TrialRow.id,
        ArtifactRow.content.is_not(None),
        func.length(ArtifactRow.content) != ArtifactRow.size,
    )


def _count_of(
    table: type[AttemptRow | EpochRow | LatentRow], *conditions: ColumnElement[bool]
) -> ScalarSelect[int]:
    counted = select(func.count()).select_from(table)
    return counted.where(table.trial_id == TrialRow.id, *conditions).scalar_subquery()


INVARIANTS: Final = (
    Invariant(
        name="running_without_lease",
        must="a running trial has a worker and a lease",
        broken=_running_without_lease,
    ),
    Invariant(
        name="leased_at_rest",
        must="a trial that nobody runs has no lease",
        broken=_leased_at_rest,
    ),
    Invariant(
        name="running_without_attempt",
        must="a running trial has an attempt that has not ended",
        broken=_running_without_attempt,
    ),
    Invariant(
        name="attempt_left_open",
        must="every attempt has ended but the last one of a running trial",
        broken=_attempt_left_open,
    ),
    Invariant(
        name="attempts_miscounted",
        must="a trial has as many attempts as it counts",
        broken=_attempts_miscounted,
    ),
    Invariant(
        name="deaths_miscounted",
        must="a trial has as many lost attempts as it counts",
        broken=_deaths_miscounted,
    ),
    Invariant(
        name="not_ended_once",
        must="exactly one attempt made a trial complete or diverged",
        broken=_not_ended_once,
    ),
    Invariant(
        name="without_evaluation",
        must="a complete trial has its metrics",
        broken=_without_evaluation,
    ),
    Invariant(
        name="without_latents",
        must="a complete trial has a row for each of its latents",
        broken=_without_latents,
    ),
    Invariant(
        name="without_reason",
        must="a diverged or failed trial says why",
        broken=_without_reason,
    ),
    Invariant(
        name="ends_disagree",
        must="a trial has a time of its end if and only if it is finished",
        broken=_ends_disagree,
    ),
    Invariant(
        name="told_too_early",
        must="the sampler is told of finished trials only",
        broken=_told_too_early,
    ),
    Invariant(
        name="epochs_with_gaps",
        must="a trial has every epoch up to its last one, and none beyond",
        broken=_epochs_with_gaps,
    ),
    Invariant(
        name="reused_from_nothing",
        must="a reused trial's source was trained itself, and ended alike",
        broken=_reused_from_nothing,
    ),
    Invariant(
        name="contents_cut",
        must="what is kept in the database has the recorded size",
        broken=_contents_cut,
    ),
)
"""All of them."""
