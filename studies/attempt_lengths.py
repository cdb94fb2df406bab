"""How long attempts take: what a worker with a time limit goes by."""

from __future__ import annotations

from sqlalchemy import func, select

from studies.database import Database
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import AttemptRow, TrialRow


@retried
def longest_attempt_seconds(database: Database, study: str) -> float | None:
    """Returns how long the longest attempt took that ended a trial, evaluation included.

    None while no trial is complete.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    with database.read() as connection:
        return connection.scalar(
            select(func.max(AttemptRow.ended_at - AttemptRow.started_at))
            .join(TrialRow, TrialRow.id == AttemptRow.trial_id)
            .where(
                TrialRow.study_id == study_id_of(connection, study),
                AttemptRow.outcome == "complete",
            )
        )
