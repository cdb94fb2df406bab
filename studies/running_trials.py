"""The trials that workers hold at the moment: how far they are, and how long their leases last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from sqlalchemy import and_, select

from studies.clock import now
from studies.database import Database
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import EpochRow, TrialRow

__all__ = ["RunningTrial", "running_trials"]


@final
@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial in training: its last epoch's training averages, at beta = 1 and per example.

    Attributes:
        number: Number of the trial.
        attempt: The attempt that runs, from 1.
        worker: Identity of the worker that holds it.
        lease_seconds: How long its lease still lasts by the database's clock; negative once over.
        epoch: Last finished epoch; 0 before the first.
        epochs: Epochs to train.
        rate_nats: R of that epoch, nats per example.
        distortion_se: Squared error of that epoch, summed over pixels, per example.
        distortion_nll_nats: Negative log-likelihood of that epoch, nats per example.
    """

    number: int
    attempt: int
    worker: str | None
    lease_seconds: float
    epoch: int
    epochs: int
    rate_nats: float | None
    distortion_se: float | None
    distortion_nll_nats: float | None


@retried
def running_trials(database: Database, study: str) -> list[RunningTrial]:
    """Returns the trials that are running, whether their leases have run out or not, by number.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    last = and_(EpochRow.trial_id == TrialRow.id, EpochRow.epoch == TrialRow.epoch)
    statement = (
        select(
            TrialRow.number,
            TrialRow.attempt,
            TrialRow.worker,
            (TrialRow.lease_until - now()).label("lease_seconds"),
            TrialRow.epoch,
            TrialRow.epochs,
            EpochRow.rate_nats,
            EpochRow.distortion_se,
            EpochRow.distortion_nll_nats,
        )
        .join_from(TrialRow, EpochRow, last, isouter=True)
        .where(TrialRow.state == "running")
        .order_by(TrialRow.number)
    )
    with database.read() as connection:
        mine = TrialRow.study_id == study_id_of(connection, study)
        return [RunningTrial(**row._asdict()) for row in connection.execute(statement.where(mine))]
