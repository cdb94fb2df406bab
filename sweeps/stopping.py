"""When a worker is to leave: a signal, an order in the database, a time limit, a vanished parent."""

import os
import signal
import time
from types import FrameType
from typing import final

from studies.records import StopOrder
from studies.retries import lose_patience

__all__ = ["StopRequest"]

_GRACE_SHARE = 0.1  # of a time limit that is shorter than ten times the grace


@final
class StopRequest:
    """Whether a worker is to leave, and how soon.

    `requested` means at the end of the epoch, with a checkpoint: after SIGTERM, SIGINT or SIGUSR1
    (what Slurm warns with), the order "now", when the time limit is near, or when the parent
    process is gone. `draining` means when the trial in hand is finished: after the order "drain".
    A second SIGINT raises KeyboardInterrupt on the spot, which leaves the trial to its last
    checkpoint.

    Args:
        parent_pid: Leave when this process is no longer the parent; None stays whatever happens.
        time_limit: Seconds from now after which the process will be ended; None for no limit.
        grace: Seconds before that at which to leave.

    Attributes:
        seconds_in_all: From the beginning until it has to leave because of its time limit; None
            without one.
    """

    def __init__(
        self,
        parent_pid: int | None = None,
        *,
        time_limit: float | None = None,
        grace: float = 60.0,
    ) -> None:
        self._parent_pid = parent_pid
        self._leave_at: float | None = None
        self.seconds_in_all: float | None = None
        if time_limit is not None:
            self.seconds_in_all = time_limit - min(grace, _GRACE_SHARE * time_limit)
            self._leave_at = time.monotonic() + self.seconds_in_all
        self._signalled: str | None = None
        self._interrupts = 0
        self._order: StopOrder | None = None

    def install(self) -> None:
        """Listens to SIGTERM, SIGINT and SIGUSR1 from now on (main thread only)."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signalled = signal.Signals(number).name
        lose_patience()
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt

    def order(self, order: StopOrder | None) -> None:
        """Follows the order that stands in the database; None takes it back."""
        self._order = order

    @property
    def requested(self) -> bool:
        """Whether the worker should leave at the end of the epoch."""
        return self._why_now() is not None

    @property
    def draining(self) -> bool:
        """Whether the worker should take no further trial."""
        return self._order is not None or self.requested

    @property
    def drained(self) -> bool:
        """Whether an order to drain is all that makes the worker leave."""
        return self._order == "drain" and not self.requested

    @property
    def reason(self) -> str | None:
        """Why it should leave, in words for the record; None if it should not."""
        return self._why_now() or ("ordered to drain" if self._order == "drain" else None)

    @property
    def seconds_left(self) -> float | None:
        """Until it has to leave because of its time limit; None without one."""
        return None if self._leave_at is None else max(0.0, self._leave_at - time.monotonic())

    def _why_now(self) -> str | None:
        if self._signalled is not None:
            return f"asked to stop ({self._signalled})"
        if self._order == "now":
            return "ordered to stop now"
        if self.seconds_left == 0.0:
            return "its time limit is near"
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            return "the process that started the worker is gone"
        return None
