"""Leases: who may run a trial, until when, and what becomes of it afterwards.

A trial belongs to its number. A worker holds it by a lease, which is the pair (worker, attempt)
in the trial's row and an end by the database's clock. Once the end has passed, any worker may
take the trial over; that raises the attempt, and with it fences off whoever held it before. Until
then a late holder is still the only one, so its writes are good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from studies.clock import now
from studies.database import Database
from studies.errors import LeaseLost
from studies.records import Lease
from studies.retries import is_repeated, retried
from studies.study_records import study_id_of
from studies.tables import AttemptRow, StudyRow, TrialRow, WorkerRow

Outcome = Literal["complete", "diverged", "failed", "released", "lost"]

_HANDED_OUT: list[InstrumentedAttribute[Any]] = [
    TrialRow.id,
    TrialRow.number,
    TrialRow.uuid,
    TrialRow.state,
    TrialRow.attempt,
    TrialRow.deaths,
    TrialRow.parameters,
    TrialRow.config,
    TrialRow.equivalence,
]


class HeldTrial(NamedTuple):
    """The row of a trial whose lease is held, locked until the transaction ends."""

    id: int
    attempt: int


def new_trial_uuid() -> str:
    """Returns an identity for a trial, unique across databases."""
    return str(uuid4())


@retried
def take_trial(
    database: Database,
    study: str,
    worker_id: str,
    *,
    lease_seconds: float,
    max_attempts: int,
    dedupe: bool = False,
) -> Lease | None:
    """Returns a lease on a trial that nobody runs, or None if there is none at the moment.

    Running trials whose lease has run out come first: they are begun. Then come queued ones, in
    order of their numbers. A trial of which `max_attempts` attempts died without a result is not handed out again:
    it becomes failed, with its history as the error. Attempts that were released do not count.

    With `dedupe`, a trial waits while another worker trains an equivalent one: once that has
    finished, whoever takes it may reuse its results (`studies.reuse`) instead of training again.

    Args:
        database: Where the study is.
        study: Its name.
        worker_id: Who will hold the lease.
        lease_seconds: How long it lasts unless it is extended.
        max_attempts: How many attempts may die.
        dedupe: Whether trials with the `equivalence` of one that is running are passed over.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    held = _held_before(database, study, worker_id, dedupe)
    if held is None:
        return None
    return _take(
        database, study, worker_id, held, lease_seconds, max_attempts=max_attempts, dedupe=dedupe
    )


@retried
def _held_before(
    database: Database, study: str, worker_id: str, dedupe: bool
) -> frozenset[int] | None:
    """Returns the keys of the worker's running trials; None if there is no trial to take.

    An idle worker's poll never takes the write lock.
    """
    with database.read() as connection:
        study_id = study_id_of(connection, study)
        if _free_trial(connection, study_id, lock=False, dedupe=dedupe) is None:
            return None
        return frozenset(connection.scalars(select(TrialRow.id).where(_runs(worker_id))))


@retried
def _take(
    database: Database,
    study: str,
    worker_id: str,
    held: frozenset[int],
    lease_seconds: float,
    *,
    max_attempts: int,
    dedupe: bool,
) -> Lease | None:
    """Takes a trial, unless an earlier call did whose answer was lost: then returns that one."""
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        if is_repeated():
            for mine in connection.execute(select(*_HANDED_OUT).where(_runs(worker_id))):
                if mine.id not in held:
                    return _lease(study, worker_id, mine, mine.attempt)
        if dedupe:
            _take_turns(connection, study_id)
        while (trial := _free_trial(connection, study_id, lock=True, dedupe=dedupe)) is not None:
            deaths = trial.deaths
            if trial.state == "running":
                deaths += 1
                _record_death(connection, trial.id, trial.attempt, "its lease ran out")
            if deaths < max_attempts:
                _start_attempt(connection, trial, worker_id, lease_seconds)
                return _lease(study, worker_id, trial, trial.attempt + 1)
            _give_up(connection, trial.id)
    return None


@retried
def extend_lease(database: Database, lease: Lease, seconds: float) -> None:
    """Makes the lease end `seconds` from now.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    with database.write() as connection:
        extended = connection.execute(
            update(TrialRow).where(_holds(lease)).values(lease_until=now() + seconds)
        )
        if extended.rowcount != 1:
            raise lease_lost(lease)


@retried
def extend_leases(database: Database, leases: Sequence[Lease], seconds: float) -> list[Lease]:
    """Makes leases end `seconds` from now, all at once; returns those that hold no longer."""
    if not leases:
        return []
    mine = or_(*map(_holds, leases))
    with database.write() as connection:
        held = connection.execute(  # in the order in which `release_worker` locks them
            select(TrialRow.id, TrialRow.uuid, TrialRow.attempt)
            .where(mine)
            .order_by(TrialRow.number)
            .with_for_update()
        ).all()
        connection.execute(
            update(TrialRow)
            .where(TrialRow.id.in_([trial.id for trial in held]))
            .values(lease_until=now() + seconds)
        )
    kept = {(trial.uuid, trial.attempt) for trial in held}
    return [lease for lease in leases if (lease.uuid, lease.attempt) not in kept]


@retried
def release_trial(database: Database, lease: Lease, reason: str) -> None:
    """Puts the trial back into the queue; this attempt does not count against the maximum.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    with database.write() as connection:
        trial = held_trial(connection, lease, "released")
        if trial is not None:
            end_attempt(connection, trial, "released", reason)
            _requeue(connection, trial.id)


@retried
def release_worker(
    database: Database, worker_id: str, reason: str, *, counts: bool = True
) -> list[int]:
    """Returns the numbers of the trials that a worker ran until it ended, now in the queue again.

    The worker's sampler leases end as well, and its record. Done twice, the second time changes
    nothing.

    Args:
        database: Where the worker was registered.
        worker_id: The worker, whose process is known to be dead.
        reason: How it is known, or why it was stopped, for the trial's history.
        counts: Whether each trial loses one of its attempts; not if the worker was stopped on
            purpose.
    """
    with database.write() as connection:
        trials = connection.execute(
            select(TrialRow.id, TrialRow.attempt, TrialRow.number)
            .where(_runs(worker_id))
            .order_by(TrialRow.number)
            .with_for_update()
        ).all()
        for trial in trials:
            if counts:
                _record_death(connection, trial.id, trial.attempt, reason)
            else:
                end_attempt(connection, HeldTrial(trial.id, trial.attempt), "released", reason)
            _requeue(connection, trial.id)
        connection.execute(
            update(StudyRow)
            .where(StudyRow.sampler_worker.in_([worker_id, f"{worker_id}/desk"]))
            .values(sampler_worker=None, sampler_until=None)
        )
        connection.execute(
            update(WorkerRow)
            .where(WorkerRow.id == worker_id, WorkerRow.ended_at.is_(None))
            .values(ended_at=now(), reason=reason)
        )
        if is_repeated():  # the first call may have released them, and its answer was lost
            return _released_from(connection, worker_id, reason)
    return [trial.number for trial in trials]


def held_trial(
    connection: Connection, lease: Lease, outcome: Outcome | None = None
) -> HeldTrial | None:
    """Returns the leased trial, locked; None if the attempt has ended so already.

    The second case is a write that was repeated, because the first one's answer was lost.

    Args:
        connection: Inside a write transaction.
        lease: The attempt that wants to write.
        outcome: How the attempt is about to end, None if it goes on.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    row = connection.execute(
        select(TrialRow.id, TrialRow.attempt).where(_holds(lease)).with_for_update()
    ).one_or_none()
    if row is not None:
        return HeldTrial(*row)
    if outcome is None or not _ended_so(connection, lease, outcome):
        raise lease_lost(lease)
    return None


def end_attempt(
    connection: Connection, trial: HeldTrial, outcome: Outcome, reason: str | None = None
) -> None:
    """Closes the attempt in the trial's history."""
    connection.execute(
        update(AttemptRow)
        .where(AttemptRow.trial_id == trial.id, AttemptRow.attempt == trial.attempt)
        .values(ended_at=now(), outcome=outcome, reason=reason)
    )


def lease_lost(lease: Lease) -> LeaseLost:
    """Returns the error for a lease that no longer holds."""
    return LeaseLost(lease.study, lease.number, lease.attempt, lease.worker_id)


def _runs(worker_id: str) -> ColumnElement[bool]:
    return (TrialRow.worker == worker_id) & (TrialRow.state == "running")


def _holds(lease: Lease) -> ColumnElement[bool]:
    return (
        (TrialRow.uuid == lease.uuid)
        & (TrialRow.attempt == lease.attempt)
        & (TrialRow.worker == lease.worker_id)
        & (TrialRow.state == "running")
    )


def _ended_so(connection: Connection, lease: Lease, outcome: Outcome) -> bool:
    stored = connection.scalar(
        select(AttemptRow.outcome)
        .join(TrialRow, TrialRow.id == AttemptRow.trial_id)
        .where(
            TrialRow.uuid == lease.uuid,
            AttemptRow.attempt == lease.attempt,
            AttemptRow.worker == lease.worker_id,
        )
    )
    return stored == outcome


def _take_turns(connection: Connection, study_id: int) -> None:
    """Lets one process at a time take from the study, where a transaction alone would not.

    Two that took at the same moment would not see that they took equivalent trials.
    """
    statement = select(StudyRow.id).where(StudyRow.id == study_id)
    connection.execute(statement.with_for_update(key_share=True))


def _free_trial(
    connection: Connection, study_id: int, *, lock: bool, dedupe: bool
) -> Row[Any] | None:
    """Returns the trial to hand out next, locked on request where the database locks rows."""
    mine = TrialRow.study_id == study_id
    if dedupe:
        mine &= ~_equivalent_running()
    queued = mine & (TrialRow.state == "queued")
    expired = mine & (TrialRow.state == "running") & (TrialRow.lease_until <= now())
    for free in expired, queued:
        statement = _first_where(free)
        if lock:
            statement = statement.with_for_update(skip_locked=True)
        trial = connection.execute(statement).one_or_none()
        if trial is not None:
            return trial
    return None


def _equivalent_running() -> ColumnElement[bool]:
    """Returns the condition that another trial of the same model is held at the moment."""
    other = aliased(TrialRow)
    return exists().where(
        other.study_id == TrialRow.study_id,
        other.equivalence == TrialRow.equivalence,
        other.id != TrialRow.id,
        other.state == "running",
        other.lease_until > now(),
    )


def _first_where(condition: ColumnElement[bool]) -> Select[Any]:
    return select(*_HANDED_OUT).where(condition).order_by(TrialRow.number).limit(1)


def _start_attempt(
    connection: Connection, trial: Row[Any], worker_id: str, lease_seconds: float
) -> None:
    attempt = trial.attempt + 1
    connection.execute(
        update(TrialRow)
        .where(TrialRow.id == trial.id)
        .values(
            state="running",
            attempt=attempt,
            worker=worker_id,
            lease_until=now() + lease_seconds,
            started_at=func.coalesce(TrialRow.started_at, now()),
        )
    )
    connection.execute(
        insert(AttemptRow).values(
            trial_id=trial.id, attempt=attempt, worker=worker_id, started_at=now(), seconds=0.0
        )
    )


def _lease(study: str, worker_id: str, trial: Row[Any], attempt: int) -> Lease:
    return Lease(
        study=study,
        number=trial.number,
        uuid=trial.uuid,
        attempt=attempt,
        worker_id=worker_id,
        parameters=trial.parameters,
        config=trial.config,
        equivalence=trial.equivalence,
    )


def _record_death(connection: Connection, trial_id: int, attempt: int, reason: str) -> None:
    end_attempt(connection, HeldTrial(trial_id, attempt), "lost", reason)
    connection.execute(
        update(TrialRow).where(TrialRow.id == trial_id).values(deaths=TrialRow.deaths + 1)
    )


def _released_from(connection: Connection, worker_id: str, reason: str) -> list[int]:
    """Returns the numbers of the trials that a worker lost for a reason, in order."""
    attempts = select(TrialRow.number).join(AttemptRow, AttemptRow.trial_id == TrialRow.id)
    lost = (AttemptRow.worker == worker_id) & (AttemptRow.reason == reason)
    return list(connection.scalars(attempts.where(lost).order_by(TrialRow.number)))


def _requeue(connection: Connection, trial_id: int) -> None:
    connection.execute(
        update(TrialRow)
        .where(TrialRow.id == trial_id)
        .values(state="queued", worker=None, lease_until=None)
    )


def _give_up(connection: Connection, trial_id: int) -> None:
    connection.execute(
        update(TrialRow)
        .where(TrialRow.id == trial_id)
        .values(
            state="failed",
            lease_until=None,
            finished_at=now(),
            error=_history(connection, trial_id),
        )
    )


def _history(connection: Connection, trial_id: int) -> str:
    deaths = connection.execute(
        select(AttemptRow.attempt, AttemptRow.worker, AttemptRow.reason)
        .where(AttemptRow.trial_id == trial_id, AttemptRow.outcome == "lost")
        .order_by(AttemptRow.attempt)
    ).all()
    each = "; ".join(f"attempt {row.attempt} by {row.worker}: {row.reason}" for row in deaths)
    plural = "s" if len(deaths) != 1 else ""
    return f"{len(deaths)} attempt{plural} ended without a result: {each}."
