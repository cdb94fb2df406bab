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

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, func, insert, select, update

from studies.clock import now
from studies.database import Database
from studies.leases import new_trial_uuid
from studies.records import FINISHED_STATES, TRIAL_STATES, NewTrial, TrialRecord, TrialState
from studies.study_records import study_id_of
from studies.tables import StudyRow, TrialRow
from studies.trial_rows import select_trials, trial_record

# One statement takes at most some thousand parameters on every database.
_CHUNK = 500


def add_trials(database: Database, study: str, trials: Sequence[NewTrial]) -> list[int]:
    """Returns the numbers that were new, now queued; a number that is there is left alone.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.write() as connection:
        study_id = study_id_of(connection, study)
        _lock_study(connection, study_id)
        known = _known_numbers(connection, study_id, {trial.number for trial in trials})
        fresh = {trial.number: trial for trial in trials if trial.number not in known}
        rows = [_queued(study_id, trial) for trial in fresh.values()]
        if rows:
            connection.execute(insert(TrialRow).values(created_at=now()), rows)
    return sorted(fresh)


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


def _lock_study(connection: Connection, study_id: int) -> None:
    """Lets one process at a time add to the study, where a transaction alone would not."""
    connection.execute(select(StudyRow.id).where(StudyRow.id == study_id).with_for_update())


def _known_numbers(connection: Connection, study_id: int, numbers: Iterable[int]) -> set[int]:
    known: set[int] = set()
    for chunk in _chunks(numbers):
        known.update(
            connection.scalars(
                select(TrialRow.number).where(
                    TrialRow.study_id == study_id, TrialRow.number.in_(chunk)
                )
            )
        )
    return known


def _chunks(numbers: Iterable[int]) -> Iterable[list[int]]:
    ordered = sorted(numbers)
    return (ordered[start : start + _CHUNK] for start in range(0, len(ordered), _CHUNK))


def _queued(study_id: int, trial: NewTrial) -> dict[str, object]:
    return asdict(trial) | {
        "study_id": study_id,
        "uuid": new_trial_uuid(),
        "state": "queued",
        "seconds": 0.0,
        "epoch": 0,
        "attempt": 0,
        "deaths": 0,
        "told": False,
    }
