"""The thread that keeps a worker's lease alive while a long step or evaluation runs."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, final

from studies.database import Database
from studies.errors import LeaseLost, StudiesError
from studies.leases import extend_lease
from studies.records import Lease, StopOrder
from studies.workers import touch_worker

__all__ = ["Heartbeat", "beat_seconds"]

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 5.0  # an order to stop is heard within it


def beat_seconds(lease_seconds: float) -> float:
    """How long a worker pauses between two signs of life."""
    return min(lease_seconds / 4, _LONGEST_PAUSE)


@final
class Heartbeat:
    """Extends the lease on the trial in hand, and gives the worker's sign of life, four times a lease.

    A database that does not answer is tried again at the next beat: the lease may run out
    meanwhile, and the fence in every write then tells the worker that it lost the trial.

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
        self._lease: Lease | None = None
        self._note: Callable[[], str | None] = lambda: None
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

    def hold(self, lease: Lease | None, note: Callable[[], str | None] = lambda: None) -> None:
        """From now on extends this lease (None: no trial in hand).

        Args:
            lease: The lease.
            note: Says what hinders the trial in hand, for the worker's record.
        """
        with self._guard:
            self._lease, self._note = lease, note

    def beat(self) -> None:
        """One sign of life, and more time for the lease in hand."""
        with self._guard:
            lease, note = self._lease, self._note
        try:
            order = touch_worker(self._db, self._worker_id, note())
            if self._on_order is not None:
                self._on_order(order)
            if lease is not None:
                extend_lease(self._db, lease, self._lease_seconds)
        except LeaseLost:
            self._drop(lease)
        except StudiesError as error:
            _log.warning("heartbeat: %s", error)

    def _drop(self, lost: Lease | None) -> None:
        """Forgets a lost lease, unless the worker has taken another trial meanwhile."""
        with self._guard:
            if self._lease is lost:
                self._lease = None

    def _run(self) -> None:
        while not self._ended.wait(beat_seconds(self._lease_seconds)):
            self.beat()
