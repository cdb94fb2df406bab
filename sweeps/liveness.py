"""Whether a process was heard of lately: alive, late, or dead."""

import socket
from typing import Literal

from studies.records import LauncherRecord, StudyRecord, WorkerRecord
from sweeps.dead_workers import is_dead
from sweeps.heartbeat import beat_seconds
from sweeps.spec_sections import RunSpec

__all__ = ["Liveness", "lease_seconds_of", "liveness_of"]

Liveness = Literal["alive", "late", "dead"]


def lease_seconds_of(study: StudyRecord) -> float:
    """How long a worker of a study may be silent before another takes its trial over."""
    default = RunSpec.model_fields["lease_seconds"].default
    return float(study.spec.get("run", {}).get("lease_seconds", default))


def liveness_of(process: WorkerRecord | LauncherRecord, lease_seconds: float) -> Liveness:
    """How a process that has not ended is, by the database's clock.

    - alive: it was heard of within two beats;
    - late: it was not, but what it holds is still its own;
    - dead: it was silent for longer than a lease, or it was on this machine and is gone.

    Args:
        process: A worker, or a launcher.
        lease_seconds: How long a lease lasts.
    """
    if process.silent_seconds > lease_seconds:
        return "dead"
    if process.host == socket.gethostname() and is_dead(process):
        return "dead"
    return "alive" if process.silent_seconds <= 2 * beat_seconds(lease_seconds) else "late"
