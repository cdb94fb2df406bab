"""Workers on a Ray cluster: one actor for each, wherever its nodes have room."""

import importlib.util
import time
import uuid
import warnings
from typing import ClassVar, final

from sweeps.devices import Placement
from sweeps.errors import SweepError, SweepWarning
from sweeps.launcher import (
    LEFT_EARLY,
    MAX_RESTARTS,
    Launcher,
    LauncherKind,
    WorkerEnd,
    WorkerPlan,
)
from sweeps.ray_connection import RayConnection
from sweeps.ray_messages import (
    Connected,
    Ended,
    KillWorkers,
    Placed,
    StartWorker,
    StopWorkers,
    WithdrawWorkers,
)
from sweeps.ray_resources import Resources, amount, device_of
from sweeps.ray_seat import Seat, end_of_worker
from sweeps.storage import VARIABLE
from sweeps.worker_process import worker_words

__all__ = ["RayLauncher"]

KILL_SECONDS = 30.0
BROKEN = "the connection to the Ray cluster broke: its head, or this machine's Ray node, is gone"


@final
class RayLauncher(Launcher):
    """Runs each worker as a child process of a Ray actor, on any node that has room for it.

    Workers that find no room wait in Ray's queue, where an autoscaler sees them. One whose node
    dies is started again on another. Ray starts nothing again by itself, so that all restarts
    are counted here.

    Args:
        plan: what each worker is to be.
    """

    kind: ClassVar[LauncherKind] = "ray"
    spans_machines: ClassVar[bool] = True

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._connection: RayConnection | None = None
        self._cluster: Connected | None = None
        self._seats: list[Seat] = []
        self._found: list[WorkerEnd] = []
        self._started = 0
        self._stopping = False
        self._ended_well = False

    def check(self) -> None:
        """Connects to the cluster, or starts one; passes if its nodes can hold a worker.

        Raises:
            SweepError: Ray is missing, no cluster lets us in, or no worker would ever fit.
        """
        if importlib.util.find_spec("ray") is None:
            raise SweepError("The launcher ray needs Ray: pip install 'rdsweep[ray]'.")
        if self._plan.device.startswith("cuda") and self._plan.gpus == 0:
            message = (
                f"run.gpus must be above 0 for device {self._plan.device!r}, but got 0; leave it "
                "out for one GPU, or write a share such as 0.5."
            )
            raise SweepError(message)
        self._check_fit()

    @property
    def where(self) -> str:
        """The cluster in words, with what it has at the start."""
        cluster = self._joined
        gpus = sum(node.gpus for node in cluster.nodes)
        parts = [
            amount(len(cluster.nodes), "node"),
            amount(sum(node.cpus for node in cluster.nodes), "CPU"),
            *([amount(gpus, "GPU")] if gpus else []),
        ]
        own, at = "a Ray cluster of this run's own", f"the Ray cluster at {cluster.address}"
        return f"{own if cluster.own else at} ({', '.join(parts)})"

    @property
    def usual_workers(self) -> int:
        """As many as the cluster has room for, and at least one."""
        return max(1, self._room)

    def scale(self, workers: int) -> list[str]:
        """Asks for places, or gives some up, those first that wait; ids of those that are to drain.

        Raises:
            SweepError: the cluster is gone, or the logs cannot be written.
        """
        self._hear()
        kept = sorted((s for s in self._seats if not s.surplus), key=lambda seat: not seat.placed)
        surplus = kept[workers:]
        for seat in surplus:
            seat.surplus = True
        if surplus:
            self._line.tell(WithdrawWorkers(worker_ids=[seat.worker_id for seat in surplus]))
        if workers > len(kept):
            self._take_in(workers - len(kept))
        return [seat.worker_id for seat in surplus]

    def ends(self) -> list[WorkerEnd]:
        """The workers that ended before their work since the last call."""
        self._hear()
        found, self._found = self._found, []
        return found

    @property
    def running(self) -> int:
        """How many workers are alive or waiting for a node."""
        self._hear()
        return len(self._seats)

    @property
    def waiting(self) -> int:
        """How many of them wait for a node."""
        self._hear()
        return sum(not seat.placed for seat in self._seats)

    @property
    def ended_well(self) -> bool:
        """Whether a worker found nothing left to do."""
        self._hear()
        return self._ended_well

    def forgive(self) -> None:
        """Counts restarts anew: the sweep has got on since the last end."""
        for seat in self._seats:
            seat.restarts = 0

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch; those that wait for a node never start."""
        self._stopping = True
        if self._connection is not None:
            self._connection.tell(StopWorkers())

    def kill(self) -> list[str]:
        """Ends every worker at once; returns the ids of those that were alive."""
        self._hear()
        self._stopping = True
        alive = [seat.worker_id for seat in self._seats if seat.placed]
        if self._seats:
            self._line.tell(KillWorkers())
        end = time.monotonic() + KILL_SECONDS
        while self._seats and time.monotonic() < end:
            self._hear(seconds=end - time.monotonic())
        return alive

    def close(self) -> None:
        """Lets go of the cluster; one of this run's own ends when its last worker has left."""
        if self._connection is None:
            return
        self._hear()
        self._connection.close(wait=not self._seats)
        self._connection = None

    def _connect(self) -> tuple[RayConnection, Connected]:
        connection = RayConnection(self._plan.ray_address, detached=self._plan.detached)
        return connection, connection.wait()

    @property
    def _line(self) -> RayConnection:
        """The line to the cluster, made when it is first needed."""
        if self._connection is None:
            self._connection, self._cluster = self._connect()
        if self._connection.lost:
            raise SweepError(f"A Ray cluster must be at hand, but {BROKEN}.")
        return self._connection

    @property
    def _is_lost(self) -> bool:
        return self._connection is not None and self._connection.lost

    @property
    def _joined(self) -> Connected:
        """The cluster as it was at the start."""
        if self._cluster is None:
            self._connection, self._cluster = self._connect()
        return self._cluster

    def _check_fit(self) -> None:
        """Whether a worker fits on a node at all."""
        if self._room:
            return
        message = f"A worker of this run wants {self._wish}, but no node of {self.where} has that"
        if self._joined.own:
            self.close()
            raise SweepError(f"{message}; ask for less in [run].")
        warnings.warn(f"{message}; workers wait until one comes.", SweepWarning, stacklevel=3)

    @property
    def _wish(self) -> Resources:
        return Resources.of(self._plan, self._joined.nodes)

    @property
    def _room(self) -> int:
        return self._wish.room(self._joined.nodes)

    def _take_in(self, count: int) -> None:
        """Seats for so many more workers."""
        wanted = count + len(self._seats)
        if 0 < self._room < wanted and not self._plan.detached:
            message = (
                f"{self.where} has room for {self._room} of {wanted} workers at a time; the "
                "others wait until there is more."
            )
            warnings.warn(message, SweepWarning, stacklevel=3)
        self._plan.logs.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            self._started += 1
            name = f"worker-{self._plan.launcher_id[:8]}-{self._started}.log"
            seat = Seat(log=self._plan.logs / name)
            self._start(seat)
            self._seats.append(seat)

    def _start(self, seat: Seat) -> None:
        """Asks for a place for another worker in that seat."""
        seat.worker_id, seat.placed = uuid.uuid4().hex, False
        wish = self._wish
        placement = Placement(device=device_of(self._plan, wish.gpus), threads=wish.cpus)
        threads = str(wish.cpus)
        command = StartWorker(
            worker_id=seat.worker_id,
            words=[*worker_words(self._plan, placement), "--worker-id", seat.worker_id],
            environment={
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "PYTHONUNBUFFERED": "1",
                VARIABLE: self._plan.url,
            },
            log=str(seat.log.absolute()),
            cpus=wish.cpus,
            gpus=wish.gpus,
            memory=wish.memory,
        )
        self._line.tell(command)

    def _hear(self, seconds: float = 0.0) -> None:
        """Takes note of what became of the workers."""
        if self._connection is None:
            return
        for event in self._connection.hear(seconds):
            seat = next((s for s in self._seats if s.worker_id == event.worker_id), None)
            match event:
                case Placed() if seat is not None:
                    seat.placed = True
                case Ended() if seat is not None:
                    self._bury(seat, event)
        if self._is_lost:
            self._lose_all()

    def _bury(self, seat: Seat, event: Ended) -> None:
        unwanted = self._stopping or seat.surplus
        never_came = unwanted and not seat.placed
        in_order = event.status == 0 or (self._stopping and event.status == LEFT_EARLY)
        can_restart = not unwanted and not self._is_lost and seat.restarts < MAX_RESTARTS
        restarted = event.status != 0 and can_restart
        if not in_order and not never_came:
            end = WorkerEnd(
                worker_id=seat.worker_id,
                reason=end_of_worker(event),
                restarted=restarted,
                dead=event.dead,
            )
            self._found.append(end)
        self._ended_well |= event.status == 0 and not seat.surplus
        if restarted:
            seat.restarts += 1
            self._start(seat)
        else:
            self._seats.remove(seat)

    def _lose_all(self) -> None:
        """The cluster is gone, or this process's part in it: nobody knows how its workers are."""
        said = "" if self._connection is None else f" ({self._connection.last_words()})"
        self._found += [
            WorkerEnd(worker_id=seat.worker_id, reason=BROKEN + said, restarted=False, dead=False)
            for seat in self._seats
        ]
        self._seats.clear()
