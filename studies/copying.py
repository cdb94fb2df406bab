"""Copies a study from one database to another, or brings an earlier copy up to date.

Each study is one transaction at the target: written in chunks, read back and summed up on both
sides, and only then committed, so a copy that breaks leaves nothing behind. What is the same there
already is not written again. A study is known again by its time of creation and its trials' UUIDs;
nothing is copied over a copy that has got further than its original.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from studies.copy_refusals import CopyError, refuse
from studies.copy_rows import Digest
from studies.copy_side import Side
from studies.copy_tables import Part, StudyTables
from studies.copy_writer import common_rows, put_part, put_study, put_trials
from studies.database import Database
from studies.retries import retried
from studies.tables import ArtifactRow, EpochRow

__all__ = ["CopyError", "Errand", "Progress", "Route", "StudyCopy", "check_copy", "copy_study"]

# What a worker of the target changes meanwhile ends the transaction instead of being written over.
_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_LONGEST_SILENCE = "15min"  # of one connection, while the other one is waited for

Progress = Callable[[int, int], None]
"""Is told how many trials of how many have been gone through."""


@final
@dataclass(frozen=True, kw_only=True)
class Errand:
    """A study to be copied.

    Attributes:
        study: Its name at the source.
        name: Its name at the target.
    """

    study: str
    name: str


@final
@dataclass(frozen=True, kw_only=True)
class Route:
    """From where to where, and which tables hold a study: our record first.

    Attributes:
        source: Where the studies are.
        target: Where they go to; it has all the tables.
        source_tables: The tables at the source.
        target_tables: The tables at the target, in the same order; it may have more.
    """

    source: Database
    target: Database
    source_tables: Sequence[StudyTables]
    target_tables: Sequence[StudyTables]


@final
@dataclass(frozen=True, kw_only=True)
class StudyCopy:
    """What was copied of a study.

    Attributes:
        study: Its name at the source.
        name: Its name at the target.
        is_new: Whether it was not at the target before.
        written: How many of its trials were new or had changed.
        changed: Whether anything at all was written.
        trials: How many trials it has.
        epochs: How many epochs they have.
        artifacts: How many artifacts they have; of large ones, the record.
        suggestions: How many trials Optuna has of it; None if it has no study of that name.
        checksum: SHA-256 of all that was copied, the same on both sides.
    """

    study: str
    name: str
    is_new: bool
    written: int
    changed: bool
    trials: int
    epochs: int
    artifacts: int
    suggestions: int | None
    checksum: str


def check_copy(route: Route, errand: Errand) -> None:
    """Passes if a study may be copied; changes nothing.

    Raises:
        StudyNotFound: If there is no such study.
        CopyError: If the target has another study of that name, or one that has got further.
    """
    _check(route.target, route, errand)


def copy_study(
    route: Route, errand: Errand, progress: Progress = lambda _done, _all: None
) -> StudyCopy:
    """Copies a study with all that belongs to it; once more only what has changed since.

    Args:
        route: From where to where.
        errand: Which study.
        progress: Is told how far the copy is.

    Raises:
        StudyNotFound: If there is no such study.
        CopyError: If `check_copy` does not pass, or if it does not read back as it was written;
            nothing is left of it then.
    """
    return _copy(route.target, route, errand, progress)


@retried
def _check(target: Database, route: Route, errand: Errand) -> None:
    with route.source.read() as here, target.read() as there:
        refuse(errand.study, errand.name, _pairs(route, errand, here, there))


@retried
def _copy(target: Database, route: Route, errand: Errand, progress: Progress) -> StudyCopy:
    try:
        with ExitStack() as stack:
            here = stack.enter_context(route.source.read())
            there = stack.enter_context(target.write())
            if target.file is None:
                there.execute(text(_ONE_SNAPSHOT))
            for database, connection in (route.source, here), (target, there):
                _allow_silence(database, connection)
            pairs = _pairs(route, errand, here, there)
            refuse(errand.study, errand.name, pairs)
            return _Copying(errand, pairs, progress).run()
    except IntegrityError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise CopyError(
            f"Only one process at a time may write study {errand.name!r} to {target.where}, but "
            f"what it holds changed meanwhile ({reason}); run the same command again."
        ) from error


def _allow_silence(database: Database, connection: Connection) -> None:
    """Keeps a server from ending a transaction that waits for the other database."""
    if database.file is None:
        statement = text("SELECT set_config('idle_in_transaction_session_timeout', :time, true)")
        connection.execute(statement, {"time": _LONGEST_SILENCE})


def _pairs(
    route: Route, errand: Errand, here: Connection, there: Connection
) -> list[tuple[Side, Side]]:
    """Returns the study at the source and at the target: in our record, in Optuna's memory."""
    return [
        (
            Side.of(route.source.where, here, mine, errand.study),
            Side.of(route.target.where, there, theirs, errand.name),
        )
        for mine, theirs in zip(route.source_tables, route.target_tables, strict=False)
    ]


@final
class _Copying:
    """One study on its way, inside a transaction on either side."""

    def __init__(
        self, errand: Errand, pairs: Sequence[tuple[Side, Side]], progress: Progress
    ) -> None:
        self._errand = errand
        self._pairs = [pair for pair in pairs if pair[0].study_id is not None]
        self._is_new = pairs[0][1].study_id is None
        self._progress = progress
        self._done, self._all = 0, 2 * sum(len(source.index) for source, _ in self._pairs)

    def run(self) -> StudyCopy:
        """Writes what is new, reads it back and compares."""
        passages = [self._pass(source, target) for source, target in self._pairs]
        counts, sizes = passages[0].counts, [len(source.index) for source, _ in self._pairs]
        sums = "".join(passage.checksum for passage in passages)
        return StudyCopy(
            study=self._errand.study,
            name=self._errand.name,
            is_new=self._is_new,
            written=passages[0].written,
            changed=any(passage.changed for passage in passages),
            trials=sizes[0],
            epochs=counts[EpochRow.__tablename__],
            artifacts=counts[ArtifactRow.__tablename__],
            suggestions=sizes[1] if len(sizes) > 1 else None,
            checksum=hashlib.sha256(sums.encode()).hexdigest(),
        )

    def _pass(self, source: Side, target: Side) -> _Passage:
        """Copies what one program keeps of the study."""
        name = self._errand.name
        wanted = Digest(source.tables)
        columns, study = source.tables.study_columns, source.tables.renamed(source.study(), name)
        wanted.add_rows(columns, source.tables.studies.name, [tuple(study.values())])
        changed = put_study(study, target, name)
        target = target.again(name) if target.study_id is None else target
        written = 0
        for keys in source.index.chunks():
            chunk = source.chunk(keys, as_copied=True)
            written += put_trials(chunk, wanted.add_chunk(chunk), target)
            self._go_on(len(keys))
        target = target.again(name) if written else target
        for mine, theirs in _zipped(source.tables.study_parts, target.tables.study_parts):
            rows = source.rows(mine, as_copied=True)
            wanted.add_rows(mine.columns, mine.table.name, rows)
            changed |= put_part(rows, target, theirs)
        if changed or written:
            self._compare(wanted, self._read_back(source, target), target.where)
        return _Passage(wanted.counts, wanted.hexdigest, written, changed=changed or written > 0)

    def _read_back(self, source: Side, target: Side) -> Digest:
        """Returns the sum of what is at the target now."""
        found = Digest(target.tables)
        study = tuple(target.study().values())
        found.add_rows(target.tables.study_columns, target.tables.studies.name, [study])
        for keys in target.index.chunks():
            found.add_chunk(target.chunk(keys, as_copied=False))
            self._go_on(len(keys))
        for mine, theirs in _zipped(source.tables.study_parts, target.tables.study_parts):
            rows = target.rows(theirs, as_copied=False)
            rows = common_rows(theirs, rows, source.rows(mine, as_copied=True))
            found.add_rows(theirs.columns, theirs.table.name, rows)
        return found

    def _compare(self, wanted: Digest, found: Digest, where: str) -> None:
        """Passes if the same was read on both sides."""
        if wanted.counts == found.counts and wanted.hexdigest == found.hexdigest:
            return
        what = f"its checksum is {found.hexdigest[:12]} instead of {wanted.hexdigest[:12]}"
        for name, count in wanted.counts.items():
            if found.counts[name] != count:
                what = f"{name} has {found.counts[name]} rows instead of {count}"
        raise CopyError(
            f"Study {self._errand.name!r} must read back from {where} as it was written, but "
            f"{what}; nothing was changed there."
        )

    def _go_on(self, trials: int) -> None:
        self._done += trials
        self._progress(self._done, self._all)


@final
@dataclass(frozen=True)
class _Passage:
    """What became of what one program keeps of a study."""

    counts: Counter[str]
    checksum: str
    written: int
    changed: bool


def _zipped(mine: Sequence[Part], theirs: Sequence[Part]) -> Iterator[tuple[Part, Part]]:
    return zip(mine, theirs, strict=True)
