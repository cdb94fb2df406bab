"""What a worker writes about the trial that it holds: its epochs and its end.

Each function is one transaction, fenced by the lease: a worker that lost its trial changes
nothing. Each may be repeated; the second time changes nothing either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, func, insert, select, update

from studies.clock import now
from studies.database import Database
from studies.leases import HeldTrial, end_attempt, held_trial
from studies.records import ArtifactRecord, EpochRecord, EvaluationRecord, LatentRecord, Lease
from studies.retries import retried
from studies.tables import ArtifactRow, AttemptRow, EpochRow, LatentRow, TrialRow


@retried
def store_epoch(
    database: Database, lease: Lease, epoch: EpochRecord, lease_seconds: float | None = None
) -> None:
    """Stores an epoch, and forgets later ones that an earlier attempt left behind.

    Args:
        database: Where the trial is.
        lease: The attempt that trained it.
        epoch: What the epoch gave.
        lease_seconds: How long the lease shall last from now on; None leaves its end as it is.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    with database.write() as connection:
        trial = held_trial(connection, lease)
        if trial is not None:
            _put_epoch(connection, trial, epoch)
        if trial is not None and lease_seconds is not None:
            _set(connection, trial, lease_until=now() + lease_seconds)


@retried
def finish_trial(
    database: Database,
    lease: Lease,
    evaluation: EvaluationRecord,
    latents: Sequence[LatentRecord],
    artifacts: Sequence[ArtifactRecord],
) -> None:
    """Ends the trial as complete, with everything that was measured on held-out data.

    Args:
        database: Where the trial is.
        lease: The attempt that ends.
        evaluation: Metrics of the trial.
        latents: One record per latent.
        artifacts: At most one of each kind.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    with database.write() as connection:
        trial = held_trial(connection, lease, "complete")
        if trial is None:
            return
        end_attempt(connection, trial, "complete")
        close_trial(connection, trial, state="complete", **asdict(evaluation))
        for row in latents:
            connection.execute(insert(LatentRow).values(trial_id=trial.id, **asdict(row)))
        for artifact in artifacts:
            connection.execute(
                insert(ArtifactRow).values(trial_id=trial.id, created_at=now(), **asdict(artifact))
            )


@retried
def diverge_trial(database: Database, lease: Lease, message: str) -> None:
    """Ends the trial as diverged: its loss was not finite.

    Its epochs stay, all of them finite; its metrics stay empty.

    Args:
        database: Where the trial is.
        lease: The attempt that ends.
        message: Where it diverged, with epoch and step.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    with database.write() as connection:
        trial = held_trial(connection, lease, "diverged")
        if trial is None:
            return
        end_attempt(connection, trial, "diverged", message)
        close_trial(connection, trial, state="diverged", error=message)


@retried
def fail_trial(database: Database, lease: Lease, error: str) -> None:
    """Ends the trial as failed, with the traceback of our own code.

    Raises:
        LeaseLost: If the trial is no longer held by this attempt.
    """
    with database.write() as connection:
        trial = held_trial(connection, lease, "failed")
        if trial is None:
            return
        end_attempt(connection, trial, "failed", error)
        close_trial(connection, trial, state="failed", error=error)


def _put_epoch(connection: Connection, trial: HeldTrial, epoch: EpochRecord) -> None:
    """Stores the epoch, and sums the seconds: of this attempt's epochs, then of all attempts.

    An epoch that is trained again counts each time: the earlier attempt keeps its sum when its
    rows go.
    """
    connection.execute(
        delete(EpochRow).where(EpochRow.trial_id == trial.id, EpochRow.epoch >= epoch.epoch)
    )
    connection.execute(
        insert(EpochRow).values(trial_id=trial.id, attempt=trial.attempt, **asdict(epoch))
    )
    mine = (EpochRow.trial_id == trial.id) & (EpochRow.attempt == trial.attempt)
    connection.execute(
        update(AttemptRow)
        .where(AttemptRow.trial_id == trial.id, AttemptRow.attempt == trial.attempt)
        .values(seconds=select(func.sum(EpochRow.seconds)).where(mine).scalar_subquery())
    )
    attempts = select(func.sum(AttemptRow.seconds)).where(AttemptRow.trial_id == trial.id)
    _set(connection, trial, epoch=epoch.epoch, seconds=attempts.scalar_subquery())


def close_trial(connection: Connection, trial: HeldTrial, **values: object) -> None:
    """Ends the trial with these values, inside somebody's transaction; its attempt ends apart."""
    _set(connection, trial, lease_until=None, finished_at=now(), **values)


def _set(connection: Connection, trial: HeldTrial, **values: object) -> None:
    connection.execute(update(TrialRow).where(TrialRow.id == trial.id).values(values))
