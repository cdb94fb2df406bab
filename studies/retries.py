"""Repeating what a database did not do this time: dropped connections, deadlocks, a full disk.

Every public function that talks to the database is one transaction, or several that each may be
repeated, so the decorator `retried` may simply call it again: if the first call was committed and
only its answer was lost, the second changes nothing and returns the same.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, final

from studies.errors import TransientStorageError

if TYPE_CHECKING:
    from studies.database import Database

PATIENCE_SECONDS = 300.0
"""For processes that run unattended: longer than a server takes to restart."""

SHORT_PATIENCE_SECONDS = 5.0
"""For commands that a user waits for."""

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0
_NOTABLE_SECONDS = 1.0  # a deadlock that is over at the next try is nobody's concern

_log = logging.getLogger(__name__)
_thread = threading.local()
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def retried(
    function: Callable[Concatenate[Database, _Parameters], _Result],
) -> Callable[Concatenate[Database, _Parameters], _Result]:
    """Returns the function, repeated on transient faults until the database's patience is over.

    Calls may be nested: all of them together have the patience of the outermost one.

    Args:
        function: What may be called twice; its first argument is the database.
    """

    @wraps(function)
    def repeating(
        database: Database, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        with _patience_of(database) as patience:
            while True:
                started = time.monotonic()
                try:
                    result = function(database, *args, **kwargs)
                except TransientStorageError as error:
                    patience.wait(error, started)
                else:
                    patience.reward()
                    return result

    return repeating


def is_repeated() -> bool:
    """Returns whether this call repeats one that may have been committed without an answer."""
    patience: _Patience | None = getattr(_thread, "patience", None)
    return patience is not None and patience.failed_at is not None


def lose_patience(seconds: float = SHORT_PATIENCE_SECONDS) -> None:
    """Makes this whole process wait for databases no longer than `seconds` from now on.

    For a process that was asked to end; safe in a signal handler.
    """
    _Patience.ends_at = time.monotonic() + seconds


@final
class _Patience:
    """How long one outermost call has waited."""

    ends_at = math.inf  # of the process

    def __init__(self, where: str, seconds: float) -> None:
        self._where, self._seconds = where, seconds
        self._delay = _FIRST_DELAY
        self.failed_at: float | None = None

    def wait(self, error: TransientStorageError, started: float) -> None:
        """Sleeps a while of random length, up to twice as long each time.

        Args:
            error: What happened; raised if the patience is over.
            started: When the call that failed was made.
        """
        if self.failed_at is None:
            self.failed_at = started
        moment = time.monotonic()
        left = min(self.failed_at + self._seconds, self.ends_at) - moment
        if left <= 0:
            _outages.end(self._where)
            raise error
        if moment - self.failed_at > _NOTABLE_SECONDS:
            _outages.begin(self._where, self._seconds, error)
        time.sleep(min(left, random.uniform(0, self._delay)))
        self._delay = min(2 * self._delay, _LONGEST_DELAY)

    def reward(self) -> None:
        """Notes that a call succeeded; the patience of the outermost one is not renewed."""
        if self.failed_at is not None and _outages.end(self._where):
            seconds = time.monotonic() - self.failed_at
            _log.warning("%s answers again, after %.0f s", self._where, seconds)


@final
class _Outages:
    """The databases that this process waits for, so that each outage is logged once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._going_on: set[str] = set()

    def begin(self, where: str, seconds: float, error: TransientStorageError) -> None:
        with self._guard:
            if where in self._going_on:
                return
            self._going_on.add(where)
        _log.warning("%s Waiting for it, for up to %g s.", error, seconds)

    def end(self, where: str) -> bool:
        """Returns whether the outage was known."""
        with self._guard:
            known = where in self._going_on
            self._going_on.discard(where)
        return known


_outages = _Outages()


@contextmanager
def _patience_of(database: Database) -> Iterator[_Patience]:
    """Yields the patience of the outermost call in this thread."""
    outer: _Patience | None = getattr(_thread, "patience", None)
    if outer is not None:
        yield outer
        return
    _thread.patience = _Patience(database.where, database.patience_seconds)
    try:
        yield _thread.patience
    finally:
        _thread.patience = None
