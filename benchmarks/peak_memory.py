"""The most memory that processes held at one moment, looked at from outside while they run."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self, final

import psutil
import torch

_PAUSE_SECONDS = 0.2
_MIB = 2**20


@final
class PeakMemory:
    """Watches the children of this process, and the GPU, in a thread.

    Resident memory is summed over the processes, so what they share counts in each. Of the GPU,
    what is in use beyond what was in use at the start: contexts of the processes are included.

    Attributes:
        host_mib: The most resident memory of all children together.
        device_mib: The most memory in use on the GPU; 0 without one.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._before = _used_mib(device)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.host_mib = 0.0
        self.device_mib = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_PAUSE_SECONDS):
            self.host_mib = max(self.host_mib, resident_mib(psutil.Process().children(True)))
            self.device_mib = max(self.device_mib, _used_mib(self._device) - self._before)


def resident_mib(processes: list[psutil.Process]) -> float:
    """Resident memory of all of them that still live."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss / _MIB
    return total


def _used_mib(device: str) -> float:
    if device == "cpu":
        return 0.0
    free, total = torch.cuda.mem_get_info()
    return (total - free) / _MIB
