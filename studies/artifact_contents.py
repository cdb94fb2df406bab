"""What is kept of artifacts inside the database, read piece by piece to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import select

from studies.database import Database
from studies.study_records import study_id_of
from studies.tables import ArtifactRow, TrialRow

__all__ = ["StoredContent", "stored_contents"]

_AT_ONCE = 200


class StoredContent(NamedTuple):
    """An artifact whose content is in the database."""

    number: int
    kind: str
    content: bytes
    sha256: str


def stored_contents(database: Database, study: str) -> Iterator[StoredContent]:
    """Yields the artifacts of a study that are in the database, by trial and kind.

    A statement reads the artifacts of some trials, so that never all are in memory.

    Raises:
        StudyNotFound: If there is no study of that name.
    """
    last = -1
    while numbers := _next_numbers(database, study, last):
        yield from _contents(database, study, numbers)
        last = numbers[-1]


def _next_numbers(database: Database, study: str, last: int) -> list[int]:
    with database.read() as connection:
        mine = TrialRow.study_id == study_id_of(connection, study)
        statement = select(TrialRow.number).where(mine, TrialRow.number > last)
        return list(connection.scalars(statement.order_by(TrialRow.number).limit(_AT_ONCE)))


def _contents(database: Database, study: str, numbers: list[int]) -> list[StoredContent]:
    columns: list[Any] = [
        TrialRow.number,
        ArtifactRow.kind,
        ArtifactRow.content,
        ArtifactRow.sha256,
    ]
    with database.read() as connection:
        rows = connection.execute(
            select(*columns)
            .join_from(ArtifactRow, TrialRow, ArtifactRow.trial_id == TrialRow.id)
            .where(
                TrialRow.study_id == study_id_of(connection, study),
                TrialRow.number.between(numbers[0], numbers[-1]),
                ArtifactRow.content.is_not(None),
            )
            .order_by(TrialRow.number, ArtifactRow.kind)
        )
        return [StoredContent(*row) for row in rows]
