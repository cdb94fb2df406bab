"""Writes a study into the target's tables: what is new or has changed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, update

from studies.copy_rows import Canon, Chunk, canonical_form
from studies.copy_side import Side
from studies.copy_tables import Part, Row


def put_study(wanted: Mapping[str, Any], target: Side, name: str) -> bool:
    """Writes the study's own row; returns whether it was new or has changed.

    Args:
        wanted: Its columns as they are to be.
        target: Where to.
        name: Its name there.
    """
    tables = target.tables
    if target.study_id is None:
        values = {**wanted, tables.name: name}
        target.connection.execute(insert(tables.studies).values(values))
        return True
    form = canonical_form(tables.study_columns)
    if form(tuple(wanted.values())) == form(tuple(target.study().values())):
        return False
    key = tables.studies.c[tables.key]
    statement = update(tables.studies).where(key == target.study_id).values(wanted)
    target.connection.execute(statement)
    return True


def put_part(wanted: Sequence[Row], target: Side, part: Part) -> bool:
    """Writes what hangs on the study itself in a table; returns whether anything has changed.

    The trials that it names must be at the target before.
    """
    rows = common_rows(part, target.rows(part, as_copied=False), wanted)
    form = canonical_form(part.columns)
    if list(map(form, rows)) == list(map(form, wanted)):
        return False
    connection, table = target.connection, part.table
    if rows and part.others_stay:
        gone = [dict(zip(part.order, _key_of(part)(row), strict=True)) for row in rows]
        same = [table.c[name] == bindparam(f"old_{name}") for name in part.order]
        values = [{f"old_{name}": value for name, value in key.items()} for key in gone]
        connection.execute(delete(table).where(*same), values)
    elif rows:
        connection.execute(delete(table).where(table.c[part.owner] == target.study_id))
    keys = dict(zip(target.index.numbers, target.index.keys, strict=True))
    local = target.tables.with_trials_named(part, wanted, keys)
    _insert(connection, part, ((target.study_id, row) for row in local))
    return True


def put_trials(source: Chunk, texts: Mapping[int, str], target: Side) -> int:
    """Writes those trials that are new or have changed; returns how many.

    Args:
        source: The trials as they are to be.
        texts: The same in their canonical form, ascending.
        target: Where to; its index is that from before the copy.
    """
    known = target.index.keys_of(texts)
    there = target.chunk(known, as_copied=False) if known else None
    canon = Canon(target.tables)
    changed = [
        number
        for number, text in texts.items()
        if there is None or number not in known or canon.trial(there, number) != text
    ]
    if changed:
        _put_changed(source, target, {n: known[n] for n in changed if n in known}, changed)
    return len(changed)


def common_rows(part: Part, rows: Sequence[Row], wanted: Iterable[Row]) -> list[Row]:
    """Returns those rows of the target that the source has too, where others may stay there."""
    if not part.others_stay:
        return list(rows)
    key = _key_of(part)
    known = {key(row) for row in wanted}
    return [row for row in rows if key(row) in known]


def _key_of(part: Part) -> Any:  # noqa: ANN401  (a function of a row)
    names = [column.name for column in part.columns]
    places = [names.index(name) for name in part.order]
    return lambda row: tuple(row[place] for place in places)


def _put_changed(
    source: Chunk, target: Side, known: Mapping[int, int], changed: Sequence[int]
) -> None:
    connection, tables = target.connection, target.tables
    if known:
        for part in tables.trial_parts:
            owner = part.table.c[part.owner]
            connection.execute(delete(part.table).where(owner.in_(list(known.values()))))
        _update_trials(source, target, known)
    keys = {**known, **_insert_trials(source, target, [n for n in changed if n not in known])}
    for part, rows in zip(tables.trial_parts, source.parts, strict=True):
        owned = ((keys[number], row) for number in changed for row in rows.get(number, ()))
        _insert(connection, part, owned)


def _update_trials(source: Chunk, target: Side, known: Mapping[int, int]) -> None:
    tables = target.tables
    names = [column.name for column in tables.trials.columns]
    key = tables.trial_key
    statement = update(tables.trials.table).where(key == bindparam("old_key"))
    rows = [
        {"old_key": old, **dict(zip(names, source.trials[number], strict=True))}
        for number, old in known.items()
    ]
    target.connection.execute(statement.values({name: bindparam(name) for name in names}), rows)


def _insert_trials(source: Chunk, target: Side, numbers: Sequence[int]) -> dict[int, int]:
    """Returns the keys that the database gave to new trials, ascending as their numbers."""
    if not numbers:
        return {}
    part = target.tables.trials
    rows = _values(part, ((target.study_id, source.trials[number]) for number in numbers))
    statement = insert(part.table).returning(
        part.table.c.number, target.tables.trial_key, sort_by_parameter_order=True
    )
    return {number: key for number, key in target.connection.execute(statement, rows)}  # noqa: C416


def _insert(connection: Connection, part: Part, rows: Iterable[tuple[int | None, Row]]) -> None:
    values = _values(part, rows)
    if values:
        connection.execute(insert(part.table), values)


def _values(part: Part, rows: Iterable[tuple[int | None, Row]]) -> list[dict[str, Any]]:
    names = [column.name for column in part.columns]
    return [{part.owner: owner, **dict(zip(names, row, strict=True))} for owner, row in rows]
