"""When a worker is to leave: a signal came, or the process that started it is gone."""

import os
import signal
from types import FrameType


class StopRequest:
    """True (`requested`) once SIGTERM or SIGINT came or the parent process vanished.

    The first signal asks to stop at the next epoch; the second raises KeyboardInterrupt on the
    spot, which leaves the trial to its last checkpoint.
    """

    def __init__(self, parent_pid: int | None = None) -> None:
        self._parent_pid = parent_pid
        self._signals = 0

    def install(self) -> None:
        """Listens to SIGTERM and SIGINT from now on (main thread only)."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            raise KeyboardInterrupt

    @property
    def requested(self) -> bool:
        """Whether the worker should leave at the next epoch."""
        return self._signals > 0 or self._orphaned()

    @property
    def reason(self) -> str:
        """Why, in words for the record."""
        return "asked to stop" if self._signals else "the process that started the worker is gone"

    def _orphaned(self) -> bool:
        if self._parent_pid is None:
            return False
        return os.getppid() != self._parent_pid
