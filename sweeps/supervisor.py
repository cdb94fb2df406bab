"""Looks after the workers of a run until all have left: deaths, orders, scaling, interrupts."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import final

import psutil

from studies.database import Database
from studies.errors import StorageError
from studies.launchers import end_launcher, register_launcher, touch_launcher
from studies.leases import release_worker
from studies.orders import order_worker_stop, standing_order
from studies.queries import query_trials
from studies.queue import outlook
from studies.records import StopOrder
from studies.workers import list_workers
from sweeps.errors import SweepError
from sweeps.launcher import Launcher, WorkerEnd
from sweeps.progress import SweepDisplay
from sweeps.wording import counted

__all__ = ["PATIENCE_SECONDS", "Interrupts", "Supervisor", "announce_launcher", "interrupts"]

POLL_SECONDS = 0.3
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 1.0
"""How long a supervisor waits for the database: it asks again, and hears Ctrl-C in between."""
_DATABASE = "database"
_ORDER = "cannot be done yet"


@final
class Interrupts:
    """Counts Ctrl-C and SIGTERM while a sweep runs."""

    def __init__(self) -> None:
        self.count = 0

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        """Counts one, as the handler of a signal."""
        self.count += 1


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Yields what counts them; the handlers from before come back in the end."""
    counter = Interrupts()
    before = [(s, signal.signal(s, counter.hear)) for s in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield counter
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def announce_launcher(
    db: Database, study: str, launcher_id: str, launcher: Launcher, workers: int
) -> None:
    """Registers this process as the launcher of a study's workers."""
    process = psutil.Process()
    register_launcher(
        db,
        study,
        launcher_id,
        kind=launcher.kind,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started_at=process.create_time(),
        workers_wanted=workers,
    )


@final
class Supervisor:
    """Watches a launcher's workers, and writes down what their ends mean for their trials.

    While the database does not answer, the workers are watched all the same, and what there is to
    write is kept until it does.

    Args:
        db: the database; it should not be patient, as nothing is watched meanwhile.
        study: name of what the workers work on.
        launcher: what starts them.
        launcher_id: under which this process is registered.
        workers: how many there are to be at first.
        display: shows the study and what happens.
        interrupts: counts Ctrl-C.
    """

    def __init__(
        self,
        *,
        db: Database,
        study: str,
        launcher: Launcher,
        launcher_id: str,
        workers: int,
        display: SweepDisplay,
        interrupts: Interrupts,
    ) -> None:
        self._db = db
        self._study = study
        self._launcher = launcher
        self._launcher_id = launcher_id
        self._wanted = workers
        self._display = display
        self._interrupts = interrupts
        self._heard = 0
        self._finished = 0
        self._order: StopOrder | None = None
        self._ends: list[WorkerEnd] = []
        self._surplus: set[str] = set()
        self._next_look = 0.0
        self._trouble: set[str] = set()
        self.last_end = "see the logs"

    @property
    def interrupted(self) -> bool:
        """Whether a stop was asked for, here or by `rdsweep stop`."""
        return self._heard > 0 or self._order is not None

    def run(self) -> None:
        """Starts the workers and returns when none is left.

        Raises:
            SweepError: no worker can be started.
            StudiesError: the study is gone.
        """
        try:
            self._surplus.update(self._launcher.scale(self._wanted))
            while self._look():
                time.sleep(POLL_SECONDS)
        except BaseException:
            with suppress(SweepError, StorageError):  # what happened first is what is told
                self._launcher.stop()
            raise
        finally:
            with suppress(StorageError):
                self._write_ends()
                end_launcher(self._db, self._launcher_id)

    def _look(self) -> bool:
        """One look at everything; False once no worker is alive nor wanted."""
        if self._interrupts.count > self._heard:
            self._heard = self._interrupts.count
            self._stop(at_once=self._heard > 1)
        alive = self._count_workers()
        if alive == 0 or time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_SECONDS
            self._talk_to_database()
        return alive > 0 or self._has_begun_again() or self._is_waiting()

    def _has_begun_again(self) -> bool:
        """Whether workers were started while none was alive: by `rdsweep scale`."""
        with self._bearing_trouble():
            return self._launcher.running > 0
        return True  # for all that is known

    def _count_workers(self) -> int:
        """How many workers are alive, once those that died are replaced."""
        with self._bearing_trouble():
            before = self._launcher.running
            self._ends += self._launcher.ends()
            alive = max(before, self._launcher.running)
            self._say_that_it_is_over(self._launcher.kind)
            return alive
        return 1  # for all that is known

    def _talk_to_database(self) -> None:
        with self._bearing_trouble():
            self._write_ends()
            wanted = touch_launcher(self._db, self._launcher_id)
            order = standing_order(self._db, self._study)
            self._see_progress(self._display.refresh())
            self._say_that_it_is_over(_DATABASE)
            self._follow(order, wanted)

    @contextmanager
    def _bearing_trouble(self) -> Iterator[None]:
        """Says what does not answer, once as long as it lasts, and goes on."""
        try:
            yield
        except StorageError as error:
            self._say_once(_DATABASE, error)
        except SweepError as error:
            self._say_once(self._launcher.kind, error)

    def _say_once(self, source: str, error: Exception) -> None:
        if source not in self._trouble:
            self._display.note(f"{source}: {error}")
        self._trouble.add(source)

    def _say_that_it_is_over(self, source: str) -> None:
        if source in self._trouble:
            self._display.note(f"{source}: it answers again")
        self._trouble.discard(source)

    def _write_ends(self) -> None:
        while self._ends:
            self._write_end(self._ends[0])
            del self._ends[0]  # only now: it may have to be written again

    def _write_end(self, end: WorkerEnd) -> None:
        if end.dead:
            in_order = self._heard > 0
            numbers = release_worker(self._db, end.worker_id, end.reason, counts=not in_order)
        else:
            running = query_trials(self._db, self._study, where="state = 'running'")
            numbers = [trial.number for trial in running if trial.worker == end.worker_id]
        if self._heard:
            return
        self.last_end = end.reason
        self._display.note(f"a worker ended: {end.reason}{_what_follows(end, numbers)}")

    def _see_progress(self, finished: int) -> None:
        if finished > self._finished:
            self._launcher.forgive()
        self._finished = finished

    def _follow(self, order: StopOrder | None, wanted: int | None) -> None:
        """Does as `rdsweep stop` and `rdsweep scale` said; tried again where it cannot be done."""
        try:
            if order is not None and order != self._order and self._order != "now":
                self._follow_stop(order)
            if wanted not in (None, self._wanted) and not self.interrupted:
                self._scale(wanted)
        except SweepError as error:
            self._say_once(_ORDER, error)
        else:
            self._trouble.discard(_ORDER)
        if self._surplus:
            self._drain_surplus()

    def _follow_stop(self, order: StopOrder) -> None:
        """Workers hear the order by themselves; here none is started any more."""
        if order == "drain":
            self._surplus.update(self._launcher.scale(0))
        else:
            self._launcher.stop()
        self._order = order
        if not self._heard:
            when = "trial is finished" if order == "drain" else "epoch ends"
            self._display.note(f"ordered to stop: each worker leaves when its {when}")

    def _scale(self, workers: int) -> None:
        self._surplus.update(self._launcher.scale(workers))
        self._wanted = workers
        hint = "; rdsweep scale starts some again" if workers == 0 else ""
        self._display.note(f"scaled to {counted(workers, 'worker')}{hint}")

    def _drain_surplus(self) -> None:
        """Tells them to drain; one that is only starting is told once it has registered."""
        order_worker_stop(self._db, self._surplus, "drain")
        workers = list_workers(self._db, self._study)
        self._surplus -= {worker.id for worker in workers if worker.stop or worker.ended_at}

    def _stop(self, *, at_once: bool) -> None:
        with self._bearing_trouble():
            if at_once:
                self._ends += map(_killed, self._launcher.kill())
                return
            self._display.note("stopping when the running epochs end (Ctrl-C again: at once)")
            self._launcher.stop()

    def _is_waiting(self) -> bool:
        """Whether the run goes on without workers, until `rdsweep scale` asks for some."""
        if self._wanted > 0 or self.interrupted:
            return False
        try:
            return not outlook(self._db, self._study).over
        except StorageError:
            return True


def _killed(worker_id: str) -> WorkerEnd:
    return WorkerEnd(worker_id=worker_id, reason="stopped at once", restarted=False)


def _what_follows(end: WorkerEnd, numbers: list[int]) -> str:
    """What becomes of a worker's trials and of its place."""
    named = ", ".join(str(number) for number in numbers)
    plural = "" if len(numbers) == 1 else "s"
    on = "goes on" if len(numbers) == 1 else "go on"
    when = "elsewhere" if end.dead else "elsewhere when the lease has run out"
    left = f"; trial{plural} {named} {on} {when}" if numbers else ""
    return left + ("" if end.restarted else "; not started again")
