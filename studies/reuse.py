"""Equivalent trials: the results of one that was trained stand for the others as well.

Two trials of a study are equivalent if they have the same `equivalence`: their settings differ in
nothing that could change the trained model, as the scale of the loss. Which settings those are is
decided where trials are suggested; here they are found and taken over. `leases.take_trial` with
`dedupe` sees to it that no two of them are trained at the same moment.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, literal, select

from studies.clock import now
from studies.database import Database
from studies.errors import NothingToReuse
from studies.leases import HeldTrial, end_attempt, held_trial
from studies.outcomes import close_trial
from studies.records import ArtifactRecord, EvaluationRecord, LatentRecord, Lease, TrialRecord
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import ArtifactRow, EpochRow, LatentRow, TrialRow
from studies.trial_rows import select_trials, trial_record

_TRAINED = TrialRow.state.in_(("complete", "diverged")) & TrialRow.reused_from.is_(None)
_METRICS = [field.name for field in fields(EvaluationRecord)]


@retried
def finished_equivalent(database: Database, study: str, equivalence: str) -> TrialRecord | None:
    """Returns the first trial that was itself trained to its end with these settings, or None.

    Args:
        database: Where the study is.
        study: Its name.
        equivalence: What equivalent trials have in common.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        statement = _trained_like(study_id_of(connection, study), equivalence)
        row = connection.execute(statement.order_by(TrialRow.number).limit(1)).one_or_none()
    return None if row is None else trial_record(row)


@retried
def count_reused(database: Database, study: str) -> int:
    """Returns how many trials took over the results of an equivalent one.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        reused = (TrialRow.study_id == study_id_of(connection, study)) & (
            TrialRow.reused_from.is_not(None)
        )
        return connection.scalar(select(func.count()).where(reused)) or 0


def evaluation_of(trial: TrialRecord) -> EvaluationRecord:
    """Returns the metrics of a complete trial, to be changed where an equivalent one's differ."""
    return EvaluationRecord(**{name: getattr(trial, name) for name in _METRICS})


@retried
def reuse_trial(
    database: Database, lease: Lease, from_number: int, evaluation: EvaluationRecord | None = None
) -> None:
    """Ends the trial as an equivalent one ended, with that one's latents and artifacts.

    It is not trained, so it has no epochs; epochs of an earlier attempt go, as no result is
    theirs. A file of an artifact is not copied: both trials name the same. If the other trial
    diverged, this one has diverged too.

    Args:
        database: Where the trials are.
        lease: The attempt that ends.
        from_number: Number of the trial to take the results from.
        evaluation: Metrics where they differ, as the likelihood of the same reconstructions under
            another variance does; by default, those of the other trial.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
        NothingToReuse: If the other trial is not equivalent, or was not trained to its end.
    """
    with database.write() as connection:
        source = _source(connection, lease, from_number)
        trial = held_trial(connection, lease, source.state)
        if trial is None:
            return
        end_attempt(connection, trial, source.state, f"equivalent to trial {from_number}")
        connection.execute(delete(EpochRow).where(EpochRow.trial_id == trial.id))
        _copy_parts(connection, source.id, trial)
        metrics = {} if source.state == "diverged" else _metrics(source, evaluation)
        close_trial(
            connection,
            trial,
            state=source.state,
            error=source.error,
            epoch=0,
            reused_from=from_number,
            **metrics,
        )


def _trained_like(study_id: int, equivalence: str) -> Select[Any]:
    return select_trials().where(
        TrialRow.study_id == study_id, TrialRow.equivalence == equivalence, _TRAINED
    )


def _source(connection: Connection, lease: Lease, number: int) -> Row[Any]:
    """Returns the row of the trial to take over, in which `id` is its key."""
    row = None
    if lease.equivalence is not None:
        study_id = study_id_of(connection, lease.study)
        statement = _trained_like(study_id, lease.equivalence).add_columns(TrialRow.id)
        row = connection.execute(statement.where(TrialRow.number == number)).one_or_none()
    if row is None:
        raise NothingToReuse(lease.study, number)
    return row


def _metrics(source: Row[Any], evaluation: EvaluationRecord | None) -> dict[str, object]:
    if evaluation is not None:
        return asdict(evaluation)
    return {name: getattr(source, name) for name in _METRICS}


def _copy_parts(connection: Connection, source_id: int, trial: HeldTrial) -> None:
    """Gives the trial the latents and artifacts of the source."""
    latents = [field.name for field in fields(LatentRecord)]
    connection.execute(
        insert(LatentRow).from_select(
            ["trial_id", *latents],
            select(literal(trial.id), *(getattr(LatentRow, name) for name in latents)).where(
                LatentRow.trial_id == source_id
            ),
        )
    )
    artifacts = [field.name for field in fields(ArtifactRecord)]
    connection.execute(
        insert(ArtifactRow).from_select(
            ["trial_id", "created_at", *artifacts],
            select(
                literal(trial.id), now(), *(getattr(ArtifactRow, name) for name in artifacts)
            ).where(ArtifactRow.trial_id == source_id),
        )
    )
