"""From a spec to what each of its workers is to be."""

import uuid

from studies.database import Database
from sweeps.launcher import WorkerPlan
from sweeps.spec import Spec
from sweeps.storage import artifacts_url, logs_directory

__all__ = ["worker_plan"]


def worker_plan(spec: Spec, db: Database, *, detached: bool = False) -> WorkerPlan:
    """The plan of a spec's workers, under a new launcher id.

    Args:
        spec: the spec.
        db: the database; its URL goes with the plan, with the password.
        detached: whether the workers are to outlive the process that starts them.

    Raises:
        StoreError: `study.artifacts` is no URL of a store.
    """
    run = spec.run
    return WorkerPlan(
        study=spec.study.name,
        url=db.url,
        launcher_id=uuid.uuid4().hex,
        logs=logs_directory(db, artifacts_url(db, spec.study.artifacts), spec.study.name),
        device=run.device,
        threads=run.threads,
        gpus=run.gpus,
        memory_gib=run.memory_gib,
        time_limit_minutes=run.time_limit_minutes,
        grace_seconds=run.grace_seconds,
        ray_address=run.ray_address,
        slurm=run.slurm,
        detached=detached,
    )
