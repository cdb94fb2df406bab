"""``rdsweep worker`` and the process that makes suggestions for it, ``rdsweep desk``."""

import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, Study

if TYPE_CHECKING:
    from studies.database import Database

__all__ = ["desk", "worker"]

Device = Annotated[str, typer.Option(help="A torch device: auto, cpu, cuda:0, …")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
TimeLimit = Annotated[
    float | None, typer.Option(min=1, help="Seconds until the process will be ended.")
]
Hidden = Annotated[str | None, typer.Option(hidden=True)]
ParentPid = Annotated[int | None, typer.Option(hidden=True)]
Holder = Annotated[str, typer.Option()]


def worker(
    study: Study,
    storage: Storage = None,
    device: Device = "auto",
    threads: Threads = 1,
    time_limit: TimeLimit = None,
    worker_id: Hidden = None,
    launcher_id: Hidden = None,
    parent_pid: ParentPid = None,
) -> None:
    """Train trials of a study that exists until none is left (what `run` starts).

    Exit status 75 says that it left while there was work: stopped, or near its time limit.
    """
    from sweeps.existing_database import existing_database
    from sweeps.worker import WorkerOptions, run_worker

    db = existing_database(storage, patient=True)
    if launcher_id is None:
        _warn_if_stopped(db, study)
    options = WorkerOptions(
        device=device,
        threads=threads,
        worker_id=worker_id,
        launcher_id=launcher_id,
        parent_pid=parent_pid,
        time_limit=time_limit,
    )
    raise typer.Exit(run_worker(study, db, options))


def _warn_if_stopped(db: "Database", study: str) -> None:
    """Whoever starts a worker by hand learns why it leaves at once."""
    from studies.orders import standing_order
    from sweeps.errors import SweepWarning

    if standing_order(db, study) is not None:
        note = (
            f"study {study!r} was told to stop, so this worker leaves at once; "
            f"`rdsweep run SPEC` or `rdsweep scale {study} N` lets it go on."
        )
        warnings.warn(note, SweepWarning, stacklevel=2)


def desk(
    study: Study, holder: Holder, storage: Storage = None, parent_pid: ParentPid = None
) -> None:
    """Make suggestions for a study (what a worker starts)."""
    from sweeps.desk import run_desk
    from sweeps.existing_database import existing_database

    run_desk(study, existing_database(storage, patient=True), holder, parent_pid)
