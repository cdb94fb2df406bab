"""Workers that people start: says with which command, and watches those that come."""

import shlex
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar, final

import typer

from studies.database import Database, open_database
from studies.orders import order_worker_stop
from studies.queue import outlook
from studies.records import StopOrder, WorkerRecord
from studies.storage_url import masked
from sweeps.dead_workers import living_workers
from sweeps.devices import Placement
from sweeps.launcher import Launcher, LauncherKind, WorkerEnd, WorkerPlan
from sweeps.storage import VARIABLE
from sweeps.worker_process import worker_words

__all__ = ["ManualLauncher", "start_instructions"]


def start_instructions(plan: WorkerPlan, workers: int) -> str:
    """How a person starts workers of a plan on any machine; a password is not shown.

    Args:
        plan: what each worker is to be.
        workers: how many are wanted.
    """
    shown = masked(plan.url)
    words = ["rdsweep", *worker_words(plan, Placement(device=plan.device, threads=plan.threads))]
    if plan.time_limit_minutes:
        words += ["--time-limit", str(60 * plan.time_limit_minutes)]
    many = "a worker" if workers == 1 else f"{workers} workers, each"
    lines = [f"start {many} with this command, on any machine that reaches database and files:"]
    if shown == plan.url:
        return "\n".join([*lines, f"  {shlex.join([*words, '--storage', plan.url])}"])
    lines += [
        f"  export {VARIABLE}={shlex.quote(shown)}  # with the password in place of ***",
        f"  {shlex.join(words)}",
    ]
    return "\n".join(lines)


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
        self._known: dict[str, WorkerRecord] = {}
        self._order: StopOrder | None = None
        self._let_go = False

    def check(self) -> None:
        """Passes: nothing is started here."""

    def scale(self, workers: int) -> list[str]:
        """Prints how to start as many as are missing; ids of the newest that are too many."""
        self._wanted = workers
        alive = self._alive()
        if workers > len(alive):
            self._say(start_instructions(self._plan_of_hand, workers - len(alive)))
        return [worker.id for worker in alive[workers:]]

    def ends(self) -> list[WorkerEnd]:
        """The workers that left early or fell silent since the last call; none is restarted."""
        alive = {worker.id: worker for worker in self._alive()}
        gone = [worker for worker in self._known.values() if worker.id not in alive]
        self._known = alive
        ended = {worker.id: worker for worker in self._all_ended()} if gone else {}
        return [
            WorkerEnd(worker_id=worker.id, reason=reason, restarted=False, dead=False)
            for worker in gone
            if (reason := _why(ended.get(worker.id))) is not None
        ]

    @property
    def running(self) -> int:
        """How many are alive; also those that nobody has started yet, while there is work."""
        if self._let_go:
            return 0
        alive = self._alive()
        if self._order is not None:
            self._tell(alive)
            return len(alive)
        over = outlook(self._db, self._plan.study).over
        return len(alive) if over else max(self._wanted, len(alive))

    @property
    def ended_well(self) -> bool:
        """Whether nothing is left to do."""
        return outlook(self._db, self._plan.study).over

    def forgive(self) -> None:
        """Changes nothing: none is started again."""

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch, through the database."""
        self._order = "now"
        self._tell(self._alive())

    def kill(self) -> list[str]:
        """Asks them to leave and waits no longer: their processes are not this one's to end."""
        self.stop()
        self._let_go = True
        return []

    def close(self) -> None:
        """Closes the connections to the database."""
        self._db.close()
