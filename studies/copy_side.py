"""A study in one of the two databases that it is copied between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from sqlalchemy import Connection, select

from studies.copy_rows import Chunk, read_chunk
from studies.copy_tables import Mark, Part, Row, StudyTables, TrialIndex
from studies.faults import clear_faults


@final
@dataclass(frozen=True, kw_only=True)
class Side:
    """A study in one of the two databases, inside a transaction there.

    Attributes:
        where: The database, for messages.
        connection: To the database.
        tables: Where the study is.
        study_id: Its key; None if it is not there.
        index: Its trials.
    """

    where: str
    connection: Connection
    tables: StudyTables
    study_id: int | None
    index: TrialIndex

    @classmethod
    def of(cls, where: str, connection: Connection, tables: StudyTables, name: str) -> Side:
        """Returns the side of a study of that name."""
        with clear_faults(where):
            study_id = tables.study_id(connection, name)
            index = tables.index(connection, study_id)
        return cls(
            where=where, connection=connection, tables=tables, study_id=study_id, index=index
        )

    def marks(self, keys: Mapping[int, int]) -> dict[int, Mark]:
        """Returns how far some trials have got, given their keys by their numbers."""
        with clear_faults(self.where):
            return self.tables.marks(self.connection, list(keys.values())) if keys else {}

    def chunk(self, keys: Mapping[int, int], *, as_copied: bool) -> Chunk:
        """Returns some trials; see `copy_rows.read_chunk`."""
        with clear_faults(self.where):
            return read_chunk(self.connection, self.tables, keys, as_copied=as_copied)

    def study(self) -> dict[str, Any]:
        """Returns the columns of the study that are copied."""
        columns = self.tables.study_columns
        if self.study_id is None or not columns:
            return {}
        key = self.tables.studies.c[self.tables.key]
        with clear_faults(self.where):
            rows = self.connection.execute(select(*columns).where(key == self.study_id))
            return dict(rows.mappings().one())

    def again(self, name: str) -> Side:
        """Returns the same study with what was written of it meanwhile."""
        return Side.of(self.where, self.connection, self.tables, name)

    def rows(self, part: Part, *, as_copied: bool) -> Sequence[Row]:
        """Returns what hangs on the study itself in a table, in the order of its keys.

        Trials that it names are named by their numbers.
        """
        if self.study_id is None:
            return []
        statement = part.owned_by([self.study_id], as_copied=as_copied)
        with clear_faults(self.where):
            rows = [tuple(row[1:]) for row in self.connection.execute(statement)]
        numbers = dict(zip(self.index.keys, self.index.numbers, strict=True))
        return self.tables.with_trials_named(part, rows, numbers)
