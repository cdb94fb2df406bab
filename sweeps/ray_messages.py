"""What the launcher and the process that holds the connection to Ray say to each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

__all__ = [
    "Answer",
    "Command",
    "Connected",
    "Ended",
    "Event",
    "KillWorkers",
    "LetGo",
    "Node",
    "Placed",
    "Refused",
    "StartWorker",
    "StopWorkers",
    "WithdrawWorkers",
]


@final
@dataclass(frozen=True, kw_only=True)
class StartWorker:
    """Ask Ray for a place, and start a worker there.

    Attributes:
        worker_id: under which it will be registered.
        words: what follows `rdsweep` on its command line.
        environment: what its environment has in addition.
        log: the file that it writes to.
        cpus: CPUs that it is to have.
        gpus: GPUs, or the share of one.
        memory: bytes of main memory; 0 asks for none.
    """

    worker_id: str
    words: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    log: str
    cpus: int
    gpus: float
    memory: int


@final
@dataclass(frozen=True, kw_only=True)
class WithdrawWorkers:
    """Give up those that still wait for a place."""

    worker_ids: Sequence[str]


@final
@dataclass(frozen=True)
class StopWorkers:
    """Ask every worker to leave at its next epoch."""


@final
@dataclass(frozen=True)
class KillWorkers:
    """End every worker at once."""


@final
@dataclass(frozen=True)
class LetGo:
    """Nobody listens any more: leave once the workers do not need you."""


Command = StartWorker | WithdrawWorkers | StopWorkers | KillWorkers | LetGo


@final
@dataclass(frozen=True, kw_only=True)
class Node:
    """What one machine of a cluster has in all.

    Attributes:
        cpus: CPUs.
        gpus: GPUs.
        memory: bytes of main memory.
    """

    cpus: float
    gpus: float
    memory: float


@final
@dataclass(frozen=True, kw_only=True)
class Connected:
    """The connection stands.

    Attributes:
        address: of the cluster.
        own: the cluster was started for this run, and ends with it.
        nodes: its machines at the moment.
    """

    address: str
    own: bool
    nodes: Sequence[Node]


@final
@dataclass(frozen=True, kw_only=True)
class Refused:
    """There is no connection.

    Attributes:
        reason: why, and what to do, in one line.
    """

    reason: str


Answer = Connected | Refused


@final
@dataclass(frozen=True, kw_only=True)
class Placed:
    """A worker has a place on a node.

    Attributes:
        worker_id: the worker.
    """

    worker_id: str


@final
@dataclass(frozen=True, kw_only=True)
class Ended:
    """A worker ended, or will never start.

    Attributes:
        worker_id: the worker.
        status: of its process, as `subprocess` gives it; None if Ray lost it.
        text: the last line that it wrote, or what Ray says.
        dead: whether its process is known to be gone.
    """

    worker_id: str
    status: int | None
    text: str
    dead: bool


Event = Placed | Ended
