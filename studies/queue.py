r"""The queue of a study's trials, from the sampler's suggestion to its being told the outcome.

    add_trials -> take_trial -> store_epoch ... -> finish_trial -> untold_trials -> mark_told
                    |             \-> diverge_trial, fail_trial
                    \-> release_trial, release_worker: back into the queue

The first and the last steps are here, the lease is in `studies.leases`, what its holder writes in
`studies.outcomes`, and whose turn it is to suggest in `studies.sampler_lease`.

Every write is one transaction, compare-and-set, and safe to repeat. No worker loads the history:
what a call costs does not grow with the number of trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from sqlalchemy import Connection, case, func, insert, select, update

from studies.clock import now
from studies.database import Database
from studies.errors import SamplerLeaseLost
from studies.leases import new_trial_uuid
from studies.records import FINISHED_STATES, TRIAL_STATES, NewTrial, TrialRecord, TrialState
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import StudyRow, TrialRow
from studies.trial_rows import select_trials, trial_record

# One statement takes at most some thousand parameters on every database.
_CHUNK = 500


@final
@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is left to do in a study.

    Attributes:
        queued: Trials that wait for a worker.
        running: Trials that a worker holds.
        untold: Finished trials whose outcome the sampler has not been told.
        finished: Trials that are complete, diverged or failed.
        wanted: How many trials the study is to have.
        exhausted: Whether the space holds no setting that was not tried.
    """

    queued: int
    running: int
    untold: int
    finished: int
    wanted: int
    exhausted: bool

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do for any worker."""
        done = self.exhausted or self.finished >= self.wanted
        return done and not (self.queued or self.running or self.untold)


@retried
def outlook(database: Database, study: str) -> Outlook:
    """Returns what is left to do in a study, in one statement.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    finished = TrialRow.state.in_(FINISHED_STATES)
    counted = select(
        func.coalesce(func.sum(case((TrialRow.state == "queued", 1), else_=0)), 0),
        func.coalesce(func.sum(case((TrialRow.state == "running", 1), else_=0)), 0),
        func.coalesce(func.sum(case((finished & TrialRow.told.is_(False), 1), else_=0)), 0),
        func.coalesce(func.sum(case((finished, 1), else_=0)), 0),
    )
    with database.read() as connection:
        study_id = study_id_of(connection, study)
        row = connection.execute(counted.where(TrialRow.study_id == study_id)).one()
        wanted, exhausted = connection.execute(
            select(StudyRow.trials_wanted, StudyRow.exhausted).where(StudyRow.id == study_id)
        ).one()
    queued, running, untold, done = map(int, row)
    return Outlook(
        queued=queued,
        running=running,
        untold=untold,
        finished=done,
        wanted=wanted,
        exhausted=exhausted,
    )


@retried
def mark_exhausted(database: Database, study: str, exhausted: bool) -> None:
    """Notes whether the space holds no setting that was not tried.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        connection.execute(
            update(StudyRow)
            .where(StudyRow.id == study_id, StudyRow.exhausted != exhausted)
            .values(exhausted=exhausted)
        )


@retried
def add_trials(
    database: Database, study: str, trials: Sequence[NewTrial], holder: str | None = None
) -> list[int]:
    """Returns the numbers that were new, now queued; a number that is there is left alone.

    Args:
        database: Where the study is.
        study: Its name.
        trials: What to queue.
        holder: Who must hold the sampler lease for it; None asks for no lease.

    Raises:
        StudyNotFound: If there is no study of that name.
        SamplerLeaseLost: If another has the lease; nothing was changed.
    """
    new = {trial.number: _queued(trial) for trial in trials}
    return _add(database, study, new, holder)


@retried
def _add(
    database: Database, study: str, new: Mapping[int, dict[str, Any]], holder: str | None
) -> list[int]:
    """Adds what is not there; returns what is there with its new identity, so also repeated."""
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        found = _lock_study(connection, study_id)
        if holder is not None and found != holder:
            raise SamplerLeaseLost(study, holder)
        known = _known_numbers(connection, study_id, new)
        rows = [row | {"study_id": study_id} for n, row in new.items() if n not in known]
        if rows:
            connection.execute(insert(TrialRow).values(created_at=now()), rows)
    return [n for n, row in sorted(new.items()) if known.get(n, row["uuid"]) == row["uuid"]]


@retried
def untold_trials(database: Database, study: str) -> list[TrialRecord]:
    """Returns the finished trials whose outcome the sampler has not been told, by number.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        statement = (
            select_trials()
            .where(
                TrialRow.study_id == study_id_of(connection, study),
                TrialRow.told.is_(False),
                TrialRow.state.in_(FINISHED_STATES),
            )
            .order_by(TrialRow.number)
        )
        return [trial_record(row) for row in connection.execute(statement)]


@retried
def mark_told(database: Database, study: str, numbers: Iterable[int]) -> None:
    """Notes that the sampler knows the outcomes of these trials; unfinished ones are left out.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        for chunk in _chunks(numbers):
            connection.execute(
                update(TrialRow)
                .where(
                    TrialRow.study_id == study_id,
                    TrialRow.number.in_(chunk),
                    TrialRow.state.in_(FINISHED_STATES),
                )
                .values(told=True)
            )


@retried
def counts(database: Database, study: str) -> dict[TrialState, int]:
    """Returns how many trials are in each state; every state has an entry.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        study_id = study_id_of(connection, study)
        found = connection.execute(
            select(TrialRow.state, func.count())
            .where(TrialRow.study_id == study_id)
            .group_by(TrialRow.state)
        )
        by_state = {state: count for state, count in found}  # noqa: C416  (rows are no pairs)
    return {state: by_state.get(state, 0) for state in TRIAL_STATES}


def _lock_study(connection: Connection, study_id: int) -> str | None:
    """Lets one process at a time add to the study; returns who holds its sampler lease."""
    statement = select(StudyRow.sampler_worker).where(StudyRow.id == study_id)
    return connection.scalar(statement.with_for_update())


def _known_numbers(
    connection: Connection, study_id: int, numbers: Iterable[int]
) -> dict[int, str]:
    """Returns the identities of the trials that are there, by number."""
    statement = select(TrialRow.number, TrialRow.uuid).where(TrialRow.study_id == study_id)
    return {
        number: uuid
        for chunk in _chunks(numbers)
        for number, uuid in connection.execute(statement.where(TrialRow.number.in_(chunk)))
    }


def _chunks(numbers: Iterable[int]) -> Iterable[list[int]]:
    ordered = sorted(numbers)
    return (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))


def _queued(trial: NewTrial) -> dict[str, Any]:
    return asdict(trial) | {
        "uuid": new_trial_uuid(),
        "state": "queued",
        "seconds": 0.0,
        "epoch": 0,
        "attempt": 0,
        "deaths": 0,
        "told": False,
    }
