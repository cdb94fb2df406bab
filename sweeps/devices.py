"""How many workers a machine takes, and on which device each of them trains."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from sweeps.errors import SweepError


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where one worker runs: a torch device and a number of CPU threads."""

    device: str
    threads: int


def placements(device: str, workers: int, threads: int) -> list[Placement]:
    """One placement for each worker, devices taken in turn, cores shared evenly.

    Args:
        device: "auto" (every GPU, else the CPU), or a torch device such as "cpu", "cuda", "cuda:1".
        workers: how many; 0 means one per GPU, else one per physical core.
        threads: CPU threads of each; 0 shares the physical cores evenly among the workers.

    Raises:
        SweepError: the device is not there.
    """
    devices = _devices(device)
    cores = physical_cores()
    count = workers or (cores if devices == ["cpu"] else len(devices))
    share = threads or max(1, cores // count)
    return [Placement(device=devices[i % len(devices)], threads=share) for i in range(count)]


def physical_cores() -> int:
    """The physical cores that this process may use: affinity and container quota counted."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no container, or no limit ("max")
    return max(1, cores)


def check_device(device: str) -> None:
    """Raises a SweepError unless the device is one of this machine."""
    _devices(device)


def _devices(wanted: str) -> list[str]:
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if wanted == "auto":
        return gpus or ["cpu"]
    if wanted == "cuda" and gpus:
        return gpus
    known = ["cpu", *gpus] + (["mps"] if torch.backends.mps.is_available() else [])
    if wanted not in known:
        message = (
            f"A device must be one of auto, {', '.join(known)} on this machine, "
            f"but got {wanted!r}."
        )
        raise SweepError(message)
    return [wanted]
