"""How worker jobs are submitted: sbatch's parameters from a plan, and an environment to do it in."""

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError
from sweeps.launcher import WorkerPlan
from sweeps.slurm_job import SlurmJob
from sweeps.slurm_queue import cancel, run_slurm
from sweeps.storage import VARIABLE

if TYPE_CHECKING:
    import submitit

ARRAY_SIZE = 1000
"""Jobs in one array; a cluster's `MaxArraySize` is 1001 unless it says otherwise."""

EARLY_REQUEUES = 1000
"""How often submitit itself may requeue a job whose worker it had not yet started."""

RESERVED = (
    "array",
    "error",
    "export",
    "open_mode",
    "output",
    "parsable",
    "signal",
    "use_srun",
    "wrap",
)
"""Parameters that a spec must leave alone: the launcher depends on its own."""

_GPU_PARAMETERS = ("gres", "gpus", "gpus_per_node", "gpus_per_task", "gpus_per_socket")
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
_OF_A_USER = ("SLURM_CLUSTERS", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")


def submit(plan: WorkerPlan, jobs: Sequence[SlurmJob]) -> "list[submitit.Job[int]]":
    """Submits worker jobs as job arrays; returns what submitit calls them, in that order.

    The database's URL is handed on in the environment only (`sbatch --export=ALL`): nothing that
    is written to the folder of the jobs, and no command line, holds it.

    Raises:
        SweepError: Slurm refused them.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    with _environment(plan), contextlib.redirect_stderr(io.StringIO()):
        # -P: a `reports` or `studies` in the working directory must not hide our packages
        python = f"{shlex.quote(sys.executable)} -P"
        executor = SlurmExecutor(plan.logs.absolute() / "slurm", EARLY_REQUEUES, python=python)
        executor.update_parameters(**parameters(plan))
        submitted: list[submitit.Job[int]] = []
        try:
            for start in range(0, len(jobs), ARRAY_SIZE):
                submitted += executor.submit_array(jobs[start : start + ARRAY_SIZE])
        except (FailedJobError, FailedSubmissionError) as error:
            with contextlib.suppress(SweepError):
                cancel([job.job_id for job in submitted])
            lines = str(error).strip().splitlines() or ["no reason given"]
            said = re.sub(r"^sbatch: error: ", "", lines[-1])
            message = f"Slurm must accept the workers' jobs, but sbatch said: {said}"
            raise SweepError(message) from error
    return submitted


def parameters(plan: WorkerPlan) -> dict[str, Any]:
    """What a plan asks of sbatch, under submitit's names.

    Of the extra parameters, `setup` (shell commands before the worker, as `module load cuda`) and
    `srun_args` are none of sbatch's.
    """
    extra = _normal(plan.slurm)
    setup, srun = (str(extra.pop(name, "")) for name in ("setup", "srun_args"))
    gpus = gpus_of(plan)
    asked = {
        "requeue": True,
        "export": "ALL",
        "signal": f"USR1@{plan.grace_seconds}",
        **({"mem": f"{round(plan.memory_gib * 1024)}M"} if plan.memory_gib else {}),
        **({"gres": f"gpu:{gpus}"} if gpus else {}),
        **extra,
    }
    threads = str(extra.get("cpus_per_task", threads_of(plan)))
    return {
        "job_name": f"rdsweep-{plan.study}",
        "time": plan.time_limit_minutes or None,
        "cpus_per_task": threads_of(plan),
        "array_parallelism": ARRAY_SIZE,
        "wckey": None,
        "stderr_to_stdout": True,
        # since Slurm 22.05 a step no longer takes this from its job
        "srun_args": ["--cpus-per-task", threads, *shlex.split(srun)],
        "additional_parameters": asked,
        "setup": ["export SUBMITIT_PREEMPT_SIGNAL=USR1", *setup.splitlines()],
    }


def threads_of(plan: WorkerPlan) -> int:
    """CPUs of a worker: one where the plan leaves it open."""
    return plan.threads or 1


def device_of(plan: WorkerPlan) -> str:
    """The device of a worker: without a GPU of its own it must not take one that it can see."""
    is_cpu = plan.device == "auto" and not gpus_of(plan) and not _asks_for_gpus(plan)
    return "cpu" if is_cpu else plan.device


def gpus_of(plan: WorkerPlan) -> int:
    """GPUs of a worker; where the plan leaves it open, one if the cluster has any.

    Raises:
        SweepError: the controller does not answer.
    """
    if plan.gpus >= 0 or plan.device == "cpu" or _asks_for_gpus(plan):
        return max(0, int(plan.gpus))
    if plan.device != "auto":
        return 1
    partition = _normal(plan.slurm).get("partition")
    only = [] if partition is None else [f"--partition={partition}"]
    return int("gpu" in run_slurm(["sinfo", "--noheader", "--format=%G", *only]))


def problem(plan: WorkerPlan) -> str | None:
    """Why a plan cannot be asked of Slurm; None if it can."""
    if plan.gpus > 0 and plan.gpus != int(plan.gpus):
        return (
            f"run.gpus must be a whole number with Slurm, but got {plan.gpus}; for a part of a "
            'GPU set it to 0 and ask for what the cluster offers, as run.slurm.gres = "shard:1".'
        )
    taken = sorted(set(_normal(plan.slurm)) & set(RESERVED))
    if taken:
        return f"run.slurm must not hold {taken[0]!r}, which rdsweep sets itself."
    return None


def _asks_for_gpus(plan: WorkerPlan) -> bool:
    """Whether the extra parameters say which GPUs a worker wants (as a shard of one)."""
    return any(name in _GPU_PARAMETERS for name in _normal(plan.slurm))


def _normal(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters under one spelling: `cpus-per-task` and `cpus_per_task` are the same."""
    return {name.lstrip("-").replace("-", "_"): value for name, value in extra.items()}


@contextmanager
def _environment(plan: WorkerPlan) -> Iterator[None]:
    """The environment that the jobs get: with the database's URL, without that of another job.

    A launcher may itself run in a job, whose variables would be taken for settings of others.
    """
    before = dict(os.environ)
    if "SLURM_JOB_ID" in before:
        for name in before:
            if name.startswith(_OF_A_JOB) and name not in _OF_A_USER:
                del os.environ[name]
    os.environ.pop("SBATCH_EXPORT", None)
    os.environ[VARIABLE] = plan.url
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
