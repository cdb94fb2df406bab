"""Workers as Slurm jobs: submitted as arrays, watched through the queue, requeued by themselves."""

import importlib.util
import logging
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from sweeps.errors import SweepError
from sweeps.launcher import LEFT_EARLY, MAX_RESTARTS, Launcher, LauncherKind, WorkerEnd, WorkerPlan
from sweeps.slurm_job import LEFT_MARK, SlurmJob, worker_log, worker_name
from sweeps.slurm_queue import JobState, cancel, job_states, run_slurm, terminate
from sweeps.slurm_submission import asks_for_gpus_itself, gpus_of, problem, submit, threads_of

if TYPE_CHECKING:
    import submitit

_log = logging.getLogger(__name__)

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")
LOOK_SECONDS = 2.0
"""So long an answer of the controller holds: many launchers may ask it."""

KILL_SECONDS = 30.0
_REASONS = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "its job was cancelled",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "took more memory than its job has (run.memory_gib)",
    "PREEMPTED": "made room for a more important job",
    "TIMEOUT": "reached its job's time limit before it had left (run.grace_seconds)",
}


@dataclass(kw_only=True)
class _Seat:
    """A place for one worker: a job, and after its end perhaps another."""

    job: "submitit.Job[int]"
    token: str
    state: JobState | None = None  # None before the controller was asked
    requeues: int = 0  # of this job that are accounted for
    restarts: int = 0  # jobs that took the place of another since `forgive`
    retired: bool = False  # surplus: its worker drains
    over: bool = False

    @property
    def worker_id(self) -> str:
        return worker_name(self.job.job_id, self.requeues, self.token)
...
