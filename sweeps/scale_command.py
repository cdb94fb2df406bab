"""``rdsweep scale``: more workers on a study, or fewer, while it runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, Study
from sweeps.wording import counted

if TYPE_CHECKING:
    from studies.database import Database
    from studies.records import LauncherRecord, StopOrder, WorkerRecord

__all__ = ["scale"]

Workers = Annotated[int, typer.Argument(metavar="N", min=0, help="How many there are to be.")]
LauncherId = Annotated[
    str | None,
    typer.Option("--launcher", metavar="ID", help="Which launcher, where there are several."),
]


def scale(
    study: Study, workers: Workers, launcher: LauncherId = None, storage: Storage = None
) -> None:
    """Give a running study more workers, or fewer: its launcher starts them.

    Surplus ones leave when their trials are finished.
    """
    from studies.launchers import set_workers_wanted
    from studies.orders import standing_order
    from sweeps.existing_database import existing_database
    from sweeps.living import living_launchers

    db = existing_database(storage)
    order = standing_order(db, study)
    found = living_launchers(db, study)
    if not found and launcher is None:
        typer.echo(_scale_by_hand(db, study, workers, order))
        return
    chosen = _choose(found, launcher, study)
    if order is not None:
        raise _stopping(study)
    set_workers_wanted(db, chosen.id, workers)
    typer.echo(f"study {study}: {_named(chosen)}: {chosen.workers_wanted} → {workers} workers")


def _stopping(study: str) -> Exception:
    from sweeps.errors import SweepError

    return SweepError(
        f"Study {study!r} must not be stopping, but it was told to by `rdsweep stop`; "
        "`rdsweep run` starts workers again once it has ended."
    )


def _choose(found: "Sequence[LauncherRecord]", wanted: str | None, study: str) -> "LauncherRecord":
    """The launcher that is meant: the only one, or the one whose id begins so."""
    from sweeps.errors import SweepError

    fit = [record for record in found if wanted is None or record.id.startswith(wanted)]
    if len(fit) == 1:
        return fit[0]
    living = "; ".join(map(_named, found)) or "none"
    if wanted is None:
        must = f"--launcher must say which launcher of study {study!r} is meant"
        raise SweepError(f"{must}, as several live: {living}.")
    must = f"--launcher must be the id of one living launcher of study {study!r}"
    raise SweepError(f"{must}, but got {wanted!r}; living: {living}.")


def _named(record: "LauncherRecord") -> str:
    place = f"{record.kind} on {record.host}:{record.pid}"
    return f"launcher {record.id[:8]} ({place}, {counted(record.workers_wanted, 'worker')})"


def _scale_by_hand(db: "Database", study: str, workers: int, order: "StopOrder | None") -> str:
    """Without a launcher: surplus workers are told to drain, others are a person's to start."""
    from studies.orders import clear_stop, order_worker_stop
    from sweeps.living import living_workers

    alive = [worker for worker in living_workers(db, study) if worker.stop is None]
    if order is not None:
        alive = []  # they leave, told so all together
        if workers > 0:
            clear_stop(db, study)
    lines = [f"study {study}: no launcher is alive; living workers: {len(alive)}"]
    surplus = _least_needed(db, study, alive)[: max(0, len(alive) - workers)]
    if surplus:
        order_worker_stop(db, surplus, "drain")
        leave = "leaves when its trial is" if len(surplus) == 1 else "leave when their trials are"
        lines.append(f"{len(surplus)} of them {leave} finished")
    if workers > len(alive):
        lines.append(_instructions(db, study, workers - len(alive)))
    return "\n".join(lines)


def _least_needed(db: "Database", study: str, alive: "Sequence[WorkerRecord]") -> list[str]:
    """Ids of workers, those without a trial first, then the newest."""
    from studies.queries import query_trials

    busy = {trial.worker for trial in query_trials(db, study, where="state = 'running'")}
    newest = sorted(alive, key=lambda worker: -worker.started_at)
    return [worker.id for worker in sorted(newest, key=lambda worker: worker.id in busy)]


def _instructions(db: "Database", study: str, missing: int) -> str:
    from studies.study_records import get_study
    from sweeps.manual_launcher import start_instructions
    from sweeps.spec import Spec
    from sweeps.worker_plan import worker_plan

    spec = Spec.from_dict(get_study(db, study).spec)
    return start_instructions(worker_plan(spec, db), missing)
