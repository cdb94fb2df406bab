"""``rdsweep stop``: the workers of a study leave, and their trials wait for the next run."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, Study
from sweeps.wording import counted

if TYPE_CHECKING:
    from studies.database import Database

__all__ = ["stop"]

POLL_SECONDS = 0.5

Now = Annotated[
    bool, typer.Option("--now", help="Do not finish running trials: leave when the epoch ends.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Return when no worker is left.")]


def stop(study: Study, now: Now = False, wait: Wait = False, storage: Storage = None) -> None:
    """Let the workers of a study finish their trials and leave.

    `rdsweep run` goes on with it.
    """
    from studies.orders import order_stop
    from studies.queue import outlook
    from sweeps.existing_database import existing_database
    from sweeps.living import living_workers

    db = existing_database(storage, patient=wait)
    workers, running = len(living_workers(db, study)), outlook(db, study).running
    order_stop(db, study, "now" if now else "drain")
    typer.echo(f"study {study}: {_what_happens(workers, running, now=now)}")
    if wait:
        _wait(db, study)


def _what_happens(workers: int, running: int, *, now: bool) -> str:
    if workers == 0:
        return "no worker is alive; one that starts before the next `rdsweep run` leaves at once"
    who = f"{counted(workers, 'worker')} leave{'s' if workers == 1 else ''}"
    trials = counted(running, "running trial")
    if now:
        then = "its epoch ends" if workers == 1 else "their epochs end"
        return f"{who} when {then}; {trials} to go on with later"
    then = "its trial is" if workers == 1 else "their trials are"
    return f"{who} when {then} finished; {trials} to finish (--now does not finish them)"


def _wait(db: "Database", study: str) -> None:
    """Prints what is left whenever that changes, until no worker is; Ctrl-C ends the waiting."""
    from studies.queue import outlook
    from sweeps.living import living_workers

    last = ""
    try:
        while alive := len(living_workers(db, study)):
            running = outlook(db, study).running
            said = f"waiting for {counted(alive, 'worker')}, {counted(running, 'trial')} running"
            if said != last:
                typer.echo(said)
            last = said
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        typer.echo("the order stands")
        raise typer.Exit(130) from None
    typer.echo("no worker is left")
