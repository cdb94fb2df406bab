"""What a worker asks of a Ray node, and how many such workers a cluster has room for."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self, final

from sweeps.launcher import WorkerPlan
from sweeps.ray_messages import Node

__all__ = ["Resources", "amount", "device_of"]


@final
@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one worker asks for.

    Attributes:
        cpus: CPUs.
        gpus: GPUs, or the share of one.
        memory: bytes of main memory; 0 asks for none.
    """

    cpus: int
    gpus: float
    memory: int

    @classmethod
    def of(cls, plan: WorkerPlan, nodes: Iterable[Node]) -> Self:
        """What a plan's workers ask for on a cluster of those nodes."""
        return cls(
            cpus=plan.threads or 1,
            gpus=plan.gpus if plan.gpus >= 0 else _usual_gpus(plan.device, nodes),
            memory=int(plan.memory_gib * 2**30),
        )

    def room(self, nodes: Iterable[Node]) -> int:
        """How many such workers fit on the nodes, if nothing else runs there."""
        return sum(min(self._times(node)) for node in nodes)

    def _times(self, node: Node) -> Iterator[int]:
        yield int(node.cpus // self.cpus)
        if self.gpus:
            whole = math.floor(node.gpus)  # a share never spans two GPUs
            yield whole * int(1 // self.gpus) if self.gpus < 1 else int(whole // self.gpus)
        if self.memory:
            yield int(node.memory // self.memory)

    def __str__(self) -> str:
        wanted = [amount(self.cpus, "CPU")]
        wanted += [amount(self.gpus, "GPU")] if self.gpus else []
        wanted += [f"{self.memory / 2**30:g} GiB of memory"] if self.memory else []
        return ", ".join(wanted)


def device_of(plan: WorkerPlan, gpus: float) -> str:
    """The device of a worker, for which Ray hides all GPUs but its own.

    Args:
        plan: what each worker is to be.
        gpus: how many it asks for.
    """
    if plan.device.startswith("cuda"):
        return "cuda:0"
    return "cpu" if plan.device == "auto" and not gpus else plan.device


def amount(count: float, noun: str) -> str:
    """So much of something, as "2 CPUs" or "0.5 GPU"."""
    return f"{count:g} {noun}{'' if count <= 1 else 's'}"


def _usual_gpus(device: str, nodes: Iterable[Node]) -> float:
    """One GPU, unless the device is another, or may be and there is none."""
    if device == "auto":
        return 1.0 if any(node.gpus for node in nodes) else 0.0
    return 1.0 if device.startswith("cuda") else 0.0
