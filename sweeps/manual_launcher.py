"""Workers that people start: says with which command, and watches those that come."""

import shlex
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar, final

import typer

from studies.database import Database, open_database
from studies.masked_urls import masked
from studies.orders import order_worker_stop
from studies.queue import outlook
from studies.records import WorkerRecord
from studies.workers import list_workers
from sweeps.dead_workers import is_dead
from sweeps.devices import Placement
from sweeps.launcher import Launcher, LauncherKind, WorkerEnd, WorkerPlan
from sweeps.living import living_workers
from sweeps.storage import VARIABLE
from sweeps.worker_process import worker_words

__all__ = ["ManualLauncher", "start_instructions"]

PATIENCE_SECONDS = 1.0  # whoever watches tries again, and hears Ctrl-C in between


def start_instructions(plan: WorkerPlan, workers: int) -> str:
    """How a person starts workers of a plan on any machine; a password is not shown.

    Args:
        plan: what each worker is to be.
        workers: how many are wanted.
    """
    by_hand = replace(plan, launcher_id="")  # whoever watches them now may be gone then
    placement = Placement(device=plan.device, threads=plan.threads or 1)
    words = ["rdsweep", *worker_words(by_hand, placement)]
    if plan.time_limit_minutes:
        words += ["--time-limit", str(60 * plan.time_limit_minutes)]
    many = "a worker" if workers == 1 else f"{workers} workers, each"
    anywhere = "any machine that reaches the database and the files"
    where = "this machine" if plan.url.startswith("sqlite") else anywhere
    lines = [f"start {many} with this command, on {where}:"]
    shown = masked(plan.url)
    if shown == plan.url:
        return "\n".join([*lines, f"  {shlex.join([*words, '--storage', plan.url])}"])
    setting = f"  export {VARIABLE}={shlex.quote(shown)}  # with the password in place of ***"
    return "\n".join([*lines, setting, f"  {shlex.join(words)}"])


@final
class ManualLauncher(Launcher):
    """Prints the command that starts a worker, and watches the workers that were started by hand.

    Whoever starts them may do so at any time and on any machine. None is started again; each that
    ends badly is reported, and its trials go on elsewhere once their leases have run out.

    Args:
        plan: what each worker is to be.
        say: prints what a person is to do.
    """

    kind: ClassVar[LauncherKind] = "manual"
    spans_machines: ClassVar[bool] = True

    def __init__(self, plan: WorkerPlan, say: Callable[[str], None] = typer.echo) -> None:
        self._plan = plan
        self._say = say
        self._wanted = 0
        self._known: set[str] = set()
        self._leaving = False
        self._let_go = False

    def check(self) -> None:
        """Passes: nothing is started here."""

    @property
    def where(self) -> str:
        """Nobody knows yet."""
        return "machines of your choice"

    def scale(self, workers: int) -> list[str]:
        """Prints how to start as many as are missing; ids of the newest that are too many.

        Raises:
            StorageError: the database does not answer.
        """
        self._wanted = workers
        alive = [worker for worker in self._alive() if worker.stop is None]
        if workers > len(alive):
            self._say(start_instructions(self._plan, workers - len(alive)))
        return [worker.id for worker in alive[workers:]]

    def ends(self) -> list[WorkerEnd]:
        """The workers that left early or fell silent since the last call; none is restarted.

        Raises:
            StorageError: the database does not answer.
        """
        alive = {worker.id for worker in self._alive()}
        gone = self._known - alive
        self._known = alive
        if not gone:
            return []
        return [
            WorkerEnd(worker_id=worker.id, reason=reason, restarted=False, dead=dead)
            for worker in list_workers(self._db, self._plan.study)
            if worker.id in gone
            for reason, dead in [_end_of(worker)]
            if reason is not None
        ]

    @property
    def running(self) -> int:
        """How many are alive, and how many are still to be started while there is work."""
        if self._let_go:
            return 0
        alive = self._alive()
        if self._leaving:
            self._tell_to_leave(alive)
            return len(alive)
        return len(alive) if self.ended_well else max(self._wanted, len(alive))

    @property
    def ended_well(self) -> bool:
        """Whether nothing is left to do."""
        return outlook(self._db, self._plan.study).over

    def forgive(self) -> None:
        """Changes nothing: none is started again."""

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch, through the database."""
        self._leaving = True
        self._tell_to_leave(self._alive())

    def kill(self) -> list[str]:
        """Asks them to leave and waits no longer: their processes are not this one's to end."""
        self._let_go = True
        self.stop()
        return []

    def close(self) -> None:
        """Closes the connections to the database."""
        if "_db" in self.__dict__:
            self._db.close()

    @cached_property
    def _db(self) -> Database:
        return open_database(self._plan.url, patience_seconds=PATIENCE_SECONDS)

    def _alive(self) -> list[WorkerRecord]:
        """The living workers that no launcher started."""
        workers = living_workers(self._db, self._plan.study)
        return [worker for worker in workers if worker.launcher_id is None]

    def _tell_to_leave(self, workers: Sequence[WorkerRecord]) -> None:
        untold = [worker.id for worker in workers if worker.stop != "now"]
        if untold:
            order_worker_stop(self._db, untold, "now")


def _end_of(worker: WorkerRecord) -> tuple[str | None, bool]:
    """Why a worker went before its work was done, None if it was; and whether it surely has."""
    if worker.ended_at is not None:
        told = worker.stop is not None or (worker.reason or "").startswith("ordered to")
        return None if told else worker.reason, True
    if worker.host == socket.gethostname() and is_dead(worker):
        return "its process is gone", True
    silence = f"{worker.silent_seconds:.0f} s"
    return f"nothing was heard of {worker.host}:{worker.pid} for {silence}", False
