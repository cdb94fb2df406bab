"""Copies a study from one database to another, or brings an earlier copy up to date.

Each study is one transaction at the target: written in chunks, read back and summed up on both
sides, and only then committed, so a copy that breaks leaves nothing behind. What is the same there
already is not written again. A study is known again by its time of creation and its trials' UUIDs;
nothing is copied over a copy that has got further than its original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from studies.copy_refusals import CopyError, refuse
from studies.copy_rows import Digest, canonical_form
from studies.copy_side import Side
from studies.copy_tables import StudyTables
from studies.copy_writer import common_rows, put_study, put_study_parts, put_trials
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
            return _Copying(route, errand, here, there, progress).run()
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
        self,
        route: Route,
        errand: Errand,
        here: Connection,
        there: Connection,
        progress: Progress,
    ) -> None:
        self._route, self._errand = route, errand
        self._connections = here, there
        self._progress = progress
        self._done = 0

    def run(self) -> StudyCopy:
        """Writes, reads back and compares."""
        pairs = self._pairs()
        refuse(self._errand.study, self._errand.name, pairs)
        self._all = 2 * sum(len(source.index) for source, _ in pairs)
        is_new = pairs[0][1].study_id is None
        present = [place for place, (source, _) in enumerate(pairs) if source.study_id is not None]
        changed, written = False, 0
        for place in present:
            source, target = pairs[place]
            changed |= put_study(source, target, self._errand.name)
            target = self._pairs()[place][1]  # it has a key now
            changed |= put_study_parts(source, target)
            trials = self._put_trials(source, target)
            changed |= trials > 0
            written += trials if place == 0 else 0
        digests = [self._verify(*self._pairs()[place]) for place in present]
        sums = "".join(digest.hexdigest for digest in digests)
        counts = digests[0].counts
        return StudyCopy(
            study=self._errand.study,
            name=self._errand.name,
            is_new=is_new,
            written=written,
            changed=changed,
            trials=len(pairs[0][0].index),
            epochs=counts[EpochRow.__tablename__],
            artifacts=counts[ArtifactRow.__tablename__],
            suggestions=len(pairs[1][0].index) if 1 in present else None,
            checksum=hashlib.sha256(sums.encode()).hexdigest(),
        )

    def _pairs(self) -> list[tuple[Side, Side]]:
        return _pairs(self._route, self._errand, *self._connections)

    def _put_trials(self, source: Side, target: Side) -> int:
        written = 0
        for keys in source.index.chunks():
            written += put_trials(source.chunk(keys, as_copied=True), target)
            self._go_on(len(keys))
        return written

    def _verify(self, source: Side, target: Side) -> Digest:
        """Returns the sum of a study that is the same on both sides."""
        wanted, found = Digest(source.tables), Digest(target.tables)
        study = source.tables.renamed(source.study(), self._errand.name)
        for digest, side, values in (wanted, source, study), (found, target, target.study()):
            form = canonical_form(side.tables.study_columns)
            digest.add_rows(side.tables.studies.name, [form(tuple(values.values()))])
        for mine, theirs in zip(source.tables.study_parts, target.tables.study_parts, strict=True):
            rows = source.rows(mine, as_copied=True)
            common = common_rows(theirs, target.rows(theirs, as_copied=False), rows)
            form = canonical_form(theirs.columns)
            wanted.add_rows(mine.table.name, list(map(form, rows)))
            found.add_rows(mine.table.name, list(map(form, common)))
        for keys in source.index.chunks():
            wanted.add_chunk(source.chunk(keys, as_copied=True))
            found.add_chunk(target.chunk(target.index.keys_of(keys), as_copied=False))
            self._go_on(len(keys))
        if wanted.hexdigest != found.hexdigest or wanted.counts != found.counts:
            raise self._differs(wanted, found)
        return found

    def _differs(self, wanted: Digest, found: Digest) -> CopyError:
        names = [name for name, count in wanted.counts.items() if found.counts[name] != count]
        what = (
            f"{names[0]} has {found.counts[names[0]]} rows instead of {wanted.counts[names[0]]}"
            if names
            else f"its checksum is {found.hexdigest[:12]} instead of {wanted.hexdigest[:12]}"
        )
        return CopyError(
            f"Study {self._errand.name!r} must read back from {self._route.target.where} as it "
            f"was written, but {what}; nothing was changed there."
        )

    def _go_on(self, trials: int) -> None:
        self._done += trials
        self._progress(self._done, self._all)
