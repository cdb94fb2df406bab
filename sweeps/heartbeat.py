"""The thread that keeps a worker's leases alive while a long step or evaluation runs."""

import logging
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, final

from studies.database import Database
from studies.errors import StudiesError
from studies.leases import extend_leases
from studies.records import Lease, StopOrder
from studies.workers import touch_worker

__all__ = ["Heartbeat", "beat_seconds"]

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 5.0  # an order to stop is heard within it

_Note = Callable[[], str | None]


def beat_seconds(lease_seconds: float) -> float:
    """How long a worker pauses between two signs of life."""
    return min(lease_seconds / 4, _LONGEST_PAUSE)


@final
class Heartbeat:
    """Extends the leases on the trials in hand, and gives the worker's sign of life, four times a lease.

    A database that does not answer is tried again at the next beat: a lease may run out
    meanwhile, and the fence in every write then tells the worker that it lost that trial.

    Args:
        db: The database.
        worker_id: Whose sign of life it is.
        lease_seconds: How long a lease lasts from each beat.
        on_order: Hears the order to stop that stands at each beat, or None.
    """

    def __init__(
        self,
        db: Database,
        worker_id: str,
        lease_seconds: float,
        on_order: Callable[[StopOrder | None], None] | None = None,
    ) -> None:
        self._db = db
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._on_order = on_order
        self._held: list[tuple[Lease, _Note]] = []
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=5)

    def hold(self, lease: Lease, note: Callable[[], str | None] = lambda: None) -> None:
        """From now on extends this lease as well.

        Args:
            lease: The lease.
            note: Says what hinders the trial, for the worker's record.
        """
        with self._guard:
            self._held.append((lease, note))

    def drop(self, lease: Lease) -> None:
        """Extends this lease no longer, if it did; the others stay."""
        with self._guard:
            self._held = [pair for pair in self._held if pair[0] is not lease]

    def beat(self) -> None:
        """One sign of life, and more time for the leases in hand; those that are lost are dropped."""
        with self._guard:
            held = list(self._held)
        try:
            order = touch_worker(self._db, self._worker_id, _hindrance(note for _, note in held))
            if self._on_order is not None:
                self._on_order(order)
            lost = extend_leases(self._db, [lease for lease, _ in held], self._lease_seconds)
        except StudiesError as error:
            _log.warning("heartbeat: %s", error)
            return
        for lease in lost:
            self.drop(lease)

    def _run(self) -> None:
        while not self._ended.wait(beat_seconds(self._lease_seconds)):
            self.beat()


def _hindrance(notes: Iterable[_Note]) -> str | None:
    """What hinders the trials in hand, in one line: the first of them speaks for all."""
    said = [text for note in notes if (text := note()) is not None]
    more = f" (and {len(said) - 1} more in hand)" if len(said) > 1 else ""
    return f"{said[0]}{more}" if said else None
