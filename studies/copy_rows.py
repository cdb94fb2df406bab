"""Rows as they are compared: read in chunks, in one form on every database, and summed up.

Two databases hold the same where the digests are equal. Floats count bit for bit, but for the
sign of a zero, which SQLite does not keep; documents count as they are parsed; bytes by their
SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from sqlalchemy import JSON, Column, Connection, LargeBinary, select

from studies.copy_tables import Part, Row, StudyTables


@final
@dataclass(frozen=True)
class Chunk:
    """Some trials with all that hangs on them.

    Attributes:
        trials: Values of the columns of `StudyTables.trials`, by number.
        parts: For each of `StudyTables.trial_parts` its rows, by the trial's number.
    """

    trials: Mapping[int, Row]
    parts: Sequence[Mapping[int, Sequence[Row]]]


def read_chunk(
    connection: Connection, tables: StudyTables, keys: Mapping[int, int], *, as_copied: bool
) -> Chunk:
    """Returns some trials of a study.

    Args:
        connection: Inside a transaction.
        tables: Where they are.
        keys: Their keys by their numbers.
        as_copied: Whether to read what a copy holds, or what is there.
    """
    numbers = {key: number for number, key in keys.items()}
    wanted = list(keys.values())
    trials = tables.trials
    columns = [
        trials.as_copied.get(column.name, column).label(column.name) if as_copied else column
        for column in trials.columns
    ]
    key = tables.trial_key
    rows = connection.execute(select(key, *columns).where(key.in_(wanted))).all()
    found = {numbers[row[0]]: tuple(row[1:]) for row in rows}
    parts = [_rows_of(connection, tables, part, numbers, as_copied) for part in tables.trial_parts]
    return Chunk({number: found[number] for number in keys}, parts)


def _rows_of(
    connection: Connection,
    tables: StudyTables,
    part: Part,
    numbers: Mapping[int, int],
    as_copied: bool,
) -> Mapping[int, Sequence[Row]]:
    joined = tables.trials.table
    statement = part.owned_by(list(numbers), as_copied=as_copied, joined=joined)
    rows: defaultdict[int, list[Row]] = defaultdict(list)
    for row in connection.execute(statement).all():
        rows[numbers[row[0]]].append(tuple(row[1:]))
    return rows


@final
class Canon:
    """Rows of one study's tables in the form in which they are compared."""

    def __init__(self, tables: StudyTables) -> None:
        self._names = tuple(part.table.name for part in tables.trial_parts)
        self._trial = canonical_form(tables.trials.columns)
        self._parts = [canonical_form(part.columns) for part in tables.trial_parts]

    def trial(self, chunk: Chunk, number: int) -> str:
        """Returns all that is known of a trial as one text."""
        rows = [self._trial(chunk.trials[number])]
        for name, form, part in zip(self._names, self._parts, chunk.parts, strict=True):
            rows.append(name)
            rows.extend(map(form, part.get(number, ())))
        return "\n".join(rows)


def canonical_form(columns: Sequence[Column[Any]]) -> Callable[[Row], str]:
    """Returns what makes a text of a row with these columns, equal for equal rows."""
    special = {
        index: form
        for index, column in enumerate(columns)
        for kind, form in _FORMS.items()
        if isinstance(column.type, kind)
    }

    def form(row: Row) -> str:
        if special:
            values = list(row)
            for index, function in special.items():
                values[index] = function(values[index])
            row = tuple(values)
        text = repr(row)
        return repr(tuple(map(_without_sign, row))) if "-0.0" in text else text

    return form


@final
class Digest:
    """Sums up a study while it is read: a checksum, and how many rows there are of each kind.

    Args:
        tables: Where the study is.
    """

    def __init__(self, tables: StudyTables) -> None:
        self._tables = tables
        self._canon = Canon(tables)
        self._sum = hashlib.sha256()
        self.counts: Counter[str] = Counter()

    def add_rows(self, columns: Sequence[Column[Any]], name: str, rows: Sequence[Row]) -> None:
        """Adds rows that hang on the study, or its own."""
        self.counts[name] += len(rows)
        self._add("\n".join([name, *map(canonical_form(columns), rows)]))

    def add_chunk(self, chunk: Chunk) -> dict[int, str]:
        """Adds trials, and returns what was added of each.

        Args:
            chunk: Trials that come after those that were added before.
        """
        texts = {number: self._canon.trial(chunk, number) for number in sorted(chunk.trials)}
        for text in texts.values():
            self._add(text)
        self.counts[self._tables.trials.table.name] += len(texts)
        for part, rows in zip(self._tables.trial_parts, chunk.parts, strict=True):
            self.counts[part.table.name] += sum(map(len, rows.values()))
        return texts

    @property
    def hexdigest(self) -> str:
        """The checksum of all that was added, in that order."""
        return self._sum.hexdigest()

    def _add(self, text: str) -> None:
        content = text.encode("utf-8", "surrogatepass")
        self._sum.update(f"{len(content)}:".encode())
        self._sum.update(content)


def _document(value: object) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True)


def _content(value: bytes | None) -> str | None:
    return None if value is None else hashlib.sha256(value).hexdigest()


def _without_sign(value: object) -> object:
    return value + 0.0 if isinstance(value, float) else value


_FORMS: Mapping[type, Callable[[Any], str | None]] = {JSON: _document, LargeBinary: _content}
