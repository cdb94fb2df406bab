"""How many workers a machine takes, and on which device each of them trains."""

from dataclasses import dataclass

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
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    count = workers or (cores if devices == ["cpu"] else len(devices))
    share = threads or max(1, cores // count)
    return [Placement(device=devices[i % len(devices)], threads=share) for i in range(count)]


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
            f"`run.device` must be one of auto, {', '.join(known)} on this machine, "
            f"but got {wanted!r}."
        )
        raise SweepError(message)
    return [wanted]
