"""What belongs to a study, table by table, so that all of it can be copied alike.

A study is kept twice in a database, in our record and in Optuna's memory of it (which `sweeps`
knows), and both have the same shape: a study, its trials, and rows that hang on either. Keys that
a database makes up itself are never copied; names, numbers and UUIDs are what links the rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, final

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, select

_BYTES_A_CHUNK = 16_000_000
_TRIALS_A_CHUNK = 500  # one statement takes at most some thousand parameters on every database

_BYTES_A_TRIAL = 4_000

Row = tuple[Any, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Part:
    """A table whose rows belong to a study, or to one of its trials.

    Attributes:
        table: The table.
        owner: The column that refers to the study or the trial.
        order: The columns in whose order the rows of one owner are read.
        generated: The column that the database fills in itself, if there is one.
        as_copied: What a copy holds in a column, where that is not what the original does.
        others_stay: Whether rows that only the target has are left alone.
    """

    table: Table
    owner: str
    order: tuple[str, ...]
    generated: str | None = None
    as_copied: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    others_stay: bool = False

    @cached_property
    def columns(self) -> tuple[Column[Any], ...]:
        """The columns that are copied."""
        return tuple(c for c in self.table.columns if c.name not in (self.owner, self.generated))

    def owned_by(
        self, owners: Sequence[int], *, as_copied: bool, joined: Table | None = None
    ) -> Select[Any]:
        """Returns the statement for all rows of some owners: (owner, *columns), in order.

        Args:
            owners: Keys of studies or of trials.
            as_copied: Whether to read what a copy holds, or what is there.
            joined: The owners' table, where `as_copied` needs it.
        """
        wanted = [
            self.as_copied.get(column.name, column).label(column.name) if as_copied else column
            for column in self.columns
        ]
        owner = self.table.c[self.owner]
        statement = select(owner, *wanted).where(owner.in_(owners))
        if as_copied and self.as_copied and joined is not None:
            statement = statement.join_from(self.table, joined)
        return statement.order_by(owner, *(self.table.c[name] for name in self.order))


class Mark(NamedTuple):
    """How far a trial has got, to see which of two copies has got further.

    Attributes:
        identity: What never changes.
        history: What has become of it, the first first; it only grows.
        progress: Numbers that only grow.
    """

    identity: str
    history: tuple[Any, ...]
    progress: tuple[int, ...]


@final
@dataclass(frozen=True)
class TrialIndex:
    """The trials of a study in the order of their numbers, in a few bytes each.

    Attributes:
        numbers: Their numbers.
        keys: Their keys in this database.
        sizes: Roughly how many bytes each is with all that hangs on it.
    """

    numbers: array[int]
    keys: array[int]
    sizes: array[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def keys_of(self, numbers: Iterable[int]) -> dict[int, int]:
        """Returns the keys of those trials that are there, by their numbers."""
        places = ((number, bisect_left(self.numbers, number)) for number in numbers)
        return {
            number: self.keys[place]
            for number, place in places
            if place < len(self.numbers) and self.numbers[place] == number
        }

    def chunks(self) -> Iterator[dict[int, int]]:
        """Yields the keys by number, so many at a time as can well be held in memory."""
        chunk: dict[int, int] = {}
        size = 0
        for number, key, weight in zip(self.numbers, self.keys, self.sizes, strict=True):
            if chunk and (len(chunk) == _TRIALS_A_CHUNK or size + weight > _BYTES_A_CHUNK):
                yield chunk
                chunk, size = {}, 0
            chunk[number] = key
            size += weight
        if chunk:
            yield chunk


class StudyTables(ABC):
    """The tables in which one program keeps its studies, in one database."""

    label: ClassVar[str]
    """What a trial of it is called in messages."""

    studies: Table
    key: str
    """The column of `studies` that the database fills in itself."""
    name: str
    """The column of `studies` with their names."""
    local: frozenset[str] = frozenset()
    """Columns of `studies` that concern one database alone."""
    study_parts: tuple[Part, ...]
    trials: Part
    trial_parts: tuple[Part, ...]

    @cached_property
    def study_columns(self) -> tuple[Column[Any], ...]:
        """The columns of a study that are copied, but for its name."""
        left_out = {self.key, self.name, *self.local}
        return tuple(column for column in self.studies.columns if column.name not in left_out)

    @property
    def trial_key(self) -> Column[Any]:
        """The trials' key in this database."""
        return self.trials.table.c[self.trials.generated or ""]

    def study_id(self, connection: Connection, name: str) -> int | None:
        """Returns the key of a study in this database, or None if there is no such study."""
        statement = select(self.studies.c[self.key]).where(self.studies.c[self.name] == name)
        return connection.scalar(statement)

    def index(self, connection: Connection, study_id: int | None) -> TrialIndex:
        """Returns the trials of a study; none of a study that is not there."""
        found = TrialIndex(array("q"), array("q"), array("q"))
        number = self.trials.table.c.number
        statement = (
            select(number, self.trial_key, self.content_bytes() + _BYTES_A_TRIAL)
            .where(self.trials.table.c[self.trials.owner] == study_id)
            .order_by(number)
        )
        if study_id is not None:
            for row in connection.execute(statement):
                for values, value in zip(
                    (found.numbers, found.keys, found.sizes), row, strict=True
                ):
                    values.append(int(value))  # PostgreSQL sums up to decimals
        return found

    def renamed(self, study: dict[str, Any], name: str) -> dict[str, Any]:  # noqa: ARG002
        """Returns the columns of a study under a new name, where they repeat it."""
        return study

    def with_trials_named(
        self,
        part: Part,  # noqa: ARG002
        rows: Sequence[Row],
        names: Mapping[int, int],  # noqa: ARG002
    ) -> Sequence[Row]:
        """Returns rows that hang on the study, with other names of the trials that they name.

        Args:
            part: Their table.
            rows: The rows.
            names: Trials' numbers by their keys in one database, or the other way round.
        """
        return rows

    @abstractmethod
    def content_bytes(self) -> ColumnElement[int]:
        """Returns the expression for roughly how many bytes hang on a trial."""

    @abstractmethod
    def marks(self, connection: Connection, keys: Sequence[int]) -> dict[int, Mark]:
        """Returns how far some trials have got, by their numbers.

        Args:
            connection: Inside a transaction.
            keys: The trials' keys.
        """
