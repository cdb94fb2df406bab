"""Worker processes on this machine: started, watched, restarted when they die, stopped."""

import os
import signal
import subprocess
import uuid
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, final

from sweeps.devices import Placement, placements
from sweeps.launcher import (
    LEFT_EARLY,
    MAX_RESTARTS,
    Launcher,
    LauncherKind,
    WorkerEnd,
    WorkerPlan,
)
from sweeps.worker_process import end_in_words, worker_command, worker_environment, worker_words

__all__ = ["LocalLauncher"]


class _Seat:
    """A place for one worker; who sits there changes with every restart."""

    def __init__(self, plan: WorkerPlan, placement: Placement, log: Path) -> None:
        self.placement = placement
        self.restarts = 0
        self.surplus = False
        self._plan = plan
        self._log = log
        self.start()

    def start(self) -> None:
        """Starts a worker, with an id of its own."""
        self.worker_id = uuid.uuid4().hex
        words = [*worker_words(self._plan, self.placement), "--worker-id", self.worker_id]
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                worker_command([*words, "--parent-pid", str(os.getpid())]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=worker_environment(self._plan.url, self.placement.threads),
            )

    @property
    def taken(self) -> bool:
        """Whether its worker is alive."""
        return self.process.poll() is None

    @property
    def reason(self) -> str:
        """Why its last worker ended."""
        return end_in_words(self.process.returncode, self._log, self._log_start)


@final
class LocalLauncher(Launcher):
    """Runs `rdsweep worker` processes on this machine, one in each seat.

    Workers get a session of their own, so that Ctrl-C reaches only the process that watches them;
    they leave by themselves when that process vanishes.

    Args:
        plan: what each worker is to be.
    """

    kind: ClassVar[LauncherKind] = "local"
    spans_machines: ClassVar[bool] = False

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._seats: list[_Seat] = []
        self._started = 0
        self._stopping = False
        self._ended_well = False

    def check(self) -> None:
        """Passes if the device is one of this machine.

        Raises:
            SweepError: it is not.
        """
        placements(self._plan.device, 1, self._plan.threads)

    @property
    def usual_workers(self) -> int:
        """One per GPU that the plan may use, else one per physical core."""
        return len(placements(self._plan.device, 0, self._plan.threads))

    @property
    def where(self) -> str:
        """The devices that the plan may use."""
        places = placements(self._plan.device, 0, self._plan.threads)
        return ", ".join(sorted({place.device for place in places}))

    def scale(self, workers: int) -> list[str]:
        """Takes seats in or marks the newest ones for leaving; ids of those that are to drain.

        Raises:
            SweepError: the device is not there, or the logs cannot be written.
        """
        kept = [seat for seat in self._seats if not seat.surplus]
        for seat in kept[workers:]:
            seat.surplus = True
        if workers > len(kept):
            for placement in self._free_placements(kept, workers):
                self._seats.append(self._new_seat(placement))
        return [seat.worker_id for seat in kept[workers:] if seat.taken]

    def _free_placements(self, kept: list[_Seat], workers: int) -> list[Placement]:
        """Where new workers go, so that devices are used evenly."""
        all_of_them = placements(self._plan.device, workers, self._plan.threads)
        used = Counter(seat.placement.device for seat in kept)
        free = list((Counter(place.device for place in all_of_them) - used).elements())
        threads = all_of_them[0].threads
        new = workers - len(kept)
        return [Placement(device=device, threads=threads) for device in free[:new]]

    def ends(self) -> list[WorkerEnd]:
        """The workers that died since the last call; each is replaced up to three times."""
        found = []
        for seat in list(self._seats):
            if seat.taken:
                continue
            status = seat.process.returncode
            in_order = status == 0 or (self._stopping and status == LEFT_EARLY)
            if in_order:
                self._ended_well |= status == 0 and not seat.surplus
                self._seats.remove(seat)
            else:
                found.append(self._bury(seat))
        return found

    @property
    def running(self) -> int:
        """How many worker processes are alive."""
        return sum(seat.taken for seat in self._seats)

    @property
    def ended_well(self) -> bool:
        """Whether a worker found nothing left to do."""
        return self._ended_well or any(
            not seat.surplus and seat.process.poll() == 0 for seat in self._seats
        )

    def forgive(self) -> None:
        """Counts restarts anew: the sweep has got on since the last death."""
        for seat in self._seats:
            seat.restarts = 0

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch."""
        self._stopping = True
        for seat in self._seats:
            if seat.taken:
                seat.process.terminate()

    def kill(self) -> list[str]:
        """Ends every worker and its children at once; returns the ids of those that were alive."""
        self._stopping = True
        alive = [seat for seat in self._seats if seat.taken]
        for seat in alive:
            with suppress(ProcessLookupError):
                os.killpg(seat.process.pid, signal.SIGKILL)
        for seat in alive:
            seat.process.wait()
        return [seat.worker_id for seat in alive]

    def _bury(self, seat: _Seat) -> WorkerEnd:
        worker_id, reason = seat.worker_id, seat.reason
        restarted = seat.restarts < MAX_RESTARTS and not (self._stopping or seat.surplus)
        if restarted:
            seat.restarts += 1
            seat.start()
        else:
            self._seats.remove(seat)
        return WorkerEnd(worker_id=worker_id, reason=reason, restarted=restarted)

    def _new_seat(self, placement: Placement) -> _Seat:
        self._plan.logs.mkdir(parents=True, exist_ok=True)
        self._started += 1
        name = f"worker-{self._plan.launcher_id[:8]}-{self._started}.log"
        return _Seat(self._plan, placement, self._plan.logs / name)
