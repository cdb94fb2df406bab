"""Launchers: what starts the workers of a study, watches them, and starts them again."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

__all__ = [
    "LAUNCHERS",
    "LEFT_EARLY",
    "MAX_RESTARTS",
    "Launcher",
    "LauncherKind",
    "WorkerEnd",
    "WorkerPlan",
]

LauncherKind = Literal["local", "ray", "slurm", "manual"]
LAUNCHERS: tuple[LauncherKind, ...] = ("local", "ray", "slurm", "manual")

MAX_RESTARTS = 3
"""How often a worker is started again before the sweep has got on meanwhile."""

LEFT_EARLY = 75
"""Exit status of a worker that left while there was work (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True, kw_only=True)
class WorkerPlan:
    """What each worker of a study is to be.

    Attributes:
        study: that it works on.
        url: complete URL of its database, with a password if there is one; for environment
            variables and messages between processes, never for a command line, a file or a log.
        launcher_id: under which the launcher is registered.
        logs: directory for what workers write; every machine must see it, where there are several.
        device: as `run.device`: "auto", "cpu", "cuda", "cuda:1", …
        threads: CPU threads of each worker; 0 for a launcher's own choice.
        gpus: GPUs of each worker, a fraction for a shared one; -1 for one where the device is not
            the CPU and there are any.
        memory_gib: main memory of each worker; 0 asks for none.
        time_limit_minutes: after which a worker's job is ended by the machine; 0 for none.
        grace_seconds: between the warning and the end.
        ray_address: of the Ray cluster; empty for the one at hand, else a local one.
        slurm: further parameters of sbatch.
        detached: the workers are to outlive the launcher's process, which ends after `scale`.
    """

    study: str
    url: str = field(repr=False)
    launcher_id: str
    logs: Path
    device: str = "auto"
    threads: int = 0
    gpus: float = -1.0
    memory_gib: float = 0.0
    time_limit_minutes: int = 0
    grace_seconds: int = 120
    ray_address: str = ""
    slurm: Mapping[str, Any] = field(default_factory=dict)
    detached: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerEnd:
    """A worker that ended without having finished its work.

    Attributes:
        worker_id: under which it was registered in the study.
        reason: its end in words ("killed by SIGKILL", or the last line that it wrote).
        restarted: whether another was started in its place.
        dead: whether its process is known to be gone, so that its trials can be given back at
            once; else their leases run out.
    """

    worker_id: str
    reason: str
    restarted: bool
    dead: bool = True


class Launcher(ABC):
    """Starts the workers of one study, watches them, and starts them again within a limit.

    The supervisor (`sweeps.sweep_run`) calls `check` before anything is created, then `scale`,
    and then `ends` and `running` again and again until no worker is left. Nothing here touches the
    record of a trial: what an end means for its trials is the supervisor's to write.
    """

    kind: ClassVar[LauncherKind]
    spans_machines: ClassVar[bool]

    @abstractmethod
    def check(self) -> None:
        """Passes if workers can be started.

        Raises:
            SweepError: a package, a program, a cluster or a device is missing.
        """

    @property
    def usual_workers(self) -> int:
        """How many workers there are to be where nobody said: what `workers = 0` means."""
        return 1

    @property
    def where(self) -> str:
        """What its workers run on, in words; to be asked after `check`."""
        return self.kind

    @abstractmethod
    def scale(self, workers: int) -> list[str]:
        """Makes places for so many workers; returns the ids of those that are to drain.

        New ones are started at once. The supervisor tells surplus ones to drain through the
        database; they leave when their trial is finished, and are not started again.
        """

    @abstractmethod
    def ends(self) -> list[WorkerEnd]:
        """The workers that ended before their work since the last call.

        Each is started again, until it has been `MAX_RESTARTS` times since `forgive`. A worker that
        found nothing left to do (exit status 0), or drained, is none of them.
        """

    @property
    @abstractmethod
    def running(self) -> int:
        """How many workers are alive or waiting for a machine."""

    @property
    @abstractmethod
    def ended_well(self) -> bool:
        """Whether a worker found nothing left to do."""

    @abstractmethod
    def forgive(self) -> None:
        """Counts restarts anew: the sweep has got on since the last end."""

    @abstractmethod
    def stop(self) -> None:
        """Asks every worker to leave at its next epoch, and starts none again."""

    @abstractmethod
    def kill(self) -> list[str]:
        """Ends every worker at once; returns the ids of those that were alive."""

    def close(self) -> None:  # noqa: B027 - most launchers hold nothing
        """Lets go of what the launcher holds; workers that still run go on."""
