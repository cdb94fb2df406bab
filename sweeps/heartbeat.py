"""The thread that keeps a worker's lease alive while a long step or evaluation runs."""

import logging
import threading
from types import TracebackType
from typing import Self

from studies.database import Database
from studies.errors import LeaseLost, StudiesError
from studies.leases import extend_lease
from studies.records import Lease
from studies.workers import touch_worker

_log = logging.getLogger(__name__)


class Heartbeat:
    """Extends the lease on the trial in hand, and the worker's sign of life, every quarter lease.

    A database that does not answer is tried again at the next beat: the lease may run out
    meanwhile, and the fence in every write then tells the worker that it lost the trial.
    """

    def __init__(self, db: Database, worker_id: str, lease_seconds: float) -> None:
        self._db = db
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._lease: Lease | None = None
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

    def hold(self, lease: Lease | None) -> None:
        """From now on extends this lease (None: no trial in hand)."""
        with self._guard:
            self._lease = lease

    def beat(self) -> None:
        """One sign of life, and more time for the lease in hand."""
        with self._guard:
            lease = self._lease
        try:
            touch_worker(self._db, self._worker_id)
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
        while not self._ended.wait(self._lease_seconds / 4):
            self.beat()
