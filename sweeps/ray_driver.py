"""The process that holds the connection to a Ray cluster, for a launcher at the other end of a pipe.

Ray writes to its driver's output, changes its signals and its process group, and ends it on the
spot when the cluster is gone. None of that may happen to the process that watches a sweep. And
this one stays while workers need it, when that one has gone.
"""

import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, final

import psutil
import ray
from ray import cloudpickle
from ray.exceptions import ActorUnavailableError, RayError

from sweeps import ray_worker
from sweeps.ray_errors import NoCluster, actor_end_in_words, why_refused
from sweeps.ray_messages import (
    Answer,
    Command,
    Connected,
    Ended,
    Event,
    KillWorkers,
    LetGo,
    Node,
    Placed,
    Refused,
    StartWorker,
    StopWorkers,
    WithdrawWorkers,
)

__all__ = ["connect", "main"]

LOOK_SECONDS = 0.2
CONNECT_SECONDS = 10.0
NAMESPACE = "rdsweep"


def main() -> None:
    """Connects, says how that went, and obeys until it is let go; run as `python -m`."""
    descriptor, address, detached = sys.argv[1:]
    os.set_inheritable(int(descriptor), False)  # it must close when this process ends
    launcher = Connection(int(descriptor))
    try:
        launcher.send(_answer(address, may_start=detached != "detached"))
        if ray.is_initialized():
            _Driver(launcher, detached=detached == "detached").serve()
    finally:
        ray.shutdown()


def _answer(address: str, *, may_start: bool) -> Answer:
    try:
        return connect(address, may_start=may_start)
    except Exception as error:  # noqa: BLE001 - Ray raises anything from OSError to ValueError
        ray.shutdown()
        return Refused(reason=why_refused(error, _wanted(address)))


def _wanted(address: str) -> str:
    return address or os.environ.get("RAY_ADDRESS", "")


def connect(address: str, *, may_start: bool) -> Connected:
    """Connects to a cluster, or starts one.

    Args:
        address: as `run.ray_address`: "HOST:PORT", "ray://HOST:PORT", "auto" for any at hand,
            "local" for one of this run's own; empty for what RAY_ADDRESS says, else for what
            `ray start` started here, else for one of this run's own.
        may_start: whether one of its own will do.
    """
    wanted = _wanted(address)
    if wanted == "local" and not may_start:
        raise NoCluster
    host, _, port = wanted.rpartition(":")
    if host and "://" not in wanted:  # Ray itself would try for half a minute and more
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    ray.init(address=wanted or None, include_dashboard=False, **_QUIET)
    own = any(child.name() == "gcs_server" for child in psutil.Process().children())
    if own and not may_start:
        raise NoCluster
    return _connected(own=own)


_QUIET: dict[str, Any] = {
    "log_to_driver": False,
    "logging_level": "ERROR",
    "namespace": NAMESPACE,
}


def _connected(*, own: bool) -> Connected:
    nodes = [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory=node["Resources"].get("memory", 0.0),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
    address = ray.get_runtime_context().gcs_address
    return Connected(address=address, own=own, nodes=nodes)


@final
@dataclass(frozen=True, kw_only=True)
class _Seat:
    """A worker's place, or the wait for one.

    Attributes:
        worker_id: the worker.
        actor: handle of its actor.
        here: when the actor has a place.
        end: when the worker has ended: its exit status and the last line that it wrote.
    """

    worker_id: str
    actor: Any
    here: "ray.ObjectRef[bool]"
    end: "ray.ObjectRef[tuple[int, str]]"


@final
class _Driver:
    """Does as the launcher says, and tells it what becomes of the workers."""

    def __init__(self, launcher: Connection, *, detached: bool) -> None:
        self._launcher = launcher
        self._detached = detached
        self._seats: dict[str, _Seat] = {}
        self._waiting: set[str] = set()
        self._let_go = False

    def serve(self) -> None:
        """Returns when it is let go, and no worker needs it."""
        cloudpickle.register_pickle_by_value(ray_worker)  # type: ignore[no-untyped-call]
        while not (self._let_go and self._is_dispensable):
            self._listen()
            self._look()

    @property
    def _is_dispensable(self) -> bool:
        return not (self._waiting if self._detached else self._seats)

    def _listen(self) -> None:
        """Follows what the launcher has said; if that has vanished, workers are to leave."""
        try:
            while not self._let_go and self._launcher.poll(0 if self._seats else LOOK_SECONDS):
                self._obey(self._launcher.recv())
        except (EOFError, OSError):
            self._obey(StopWorkers())
            self._let_go = True

    def _obey(self, command: Command) -> None:
        match command:
            case StartWorker():
                self._start(command)
            case WithdrawWorkers():
                self._kill(self._waiting & set(command.worker_ids))
            case StopWorkers():
                for seat in self._seats.values():
                    seat.actor.stop.remote()
                self._kill(self._waiting)
            case KillWorkers():
                self._kill(self._seats)
            case LetGo():
                self._let_go = True

    def _start(self, command: StartWorker) -> None:
        lasting = {"lifetime": "detached", "name": f"rdsweep worker {command.worker_id}"}
        actor: Any = (  # a class has no `remote` before Ray wraps it
            ray.remote(ray_worker.RayWorker)
            .options(
                num_cpus=command.cpus,
                num_gpus=command.gpus,
                memory=command.memory or None,
                scheduling_strategy="SPREAD",
                max_restarts=0,  # the launcher counts
                max_task_retries=-1,  # over a connection that broke: `run` may be repeated
                max_concurrency=3,
                **(lasting if self._detached else {}),
            )
            .remote()
        )
        seat = _Seat(
            worker_id=command.worker_id,
            actor=actor,
            end=actor.run.remote(
                command.words, command.environment, command.log, alone=self._detached
            ),
            here=actor.is_here.remote(),
        )
        self._seats[command.worker_id] = seat
        self._waiting.add(command.worker_id)

    def _kill(self, worker_ids: Iterable[str]) -> None:
        for worker_id in list(worker_ids):
            with suppress(RayError, ValueError):
                ray.kill(self._seats[worker_id].actor)

    def _look(self) -> None:
        """Tells what has changed since the last look; takes a moment where nothing has."""
        seats = list(self._seats.values())
        if not seats:
            return
        pending: list[ray.ObjectRef[Any]] = [seat.end for seat in seats]
        pending += [seat.here for seat in seats if seat.worker_id in self._waiting]
        done = set(ray.wait(pending, num_returns=len(pending), timeout=LOOK_SECONDS)[0])
        for seat in seats:
            if seat.here in done and _resolves(seat.here):
                self._waiting.discard(seat.worker_id)
                self._tell(Placed(worker_id=seat.worker_id))
            if seat.end in done:
                self._bury(seat)

    def _bury(self, seat: _Seat) -> None:
        del self._seats[seat.worker_id]
        self._waiting.discard(seat.worker_id)
        status, text, dead = _end_of(seat)
        with suppress(RayError, ValueError):
            ray.kill(seat.actor)
        self._tell(Ended(worker_id=seat.worker_id, status=status, text=text, dead=dead))

    def _tell(self, event: Event) -> None:
        with suppress(OSError):  # nobody listens: `_listen` will notice
            self._launcher.send(event)


def _resolves(reference: "ray.ObjectRef[bool]") -> bool:
    try:
        ray.get(reference)
    except RayError:
        return False
    return True


def _end_of(seat: _Seat) -> tuple[int | None, str, bool]:
    """Exit status, last words, and whether the process is gone."""
    try:
        status, text = ray.get(seat.end)
    except RayError as error:
        return None, actor_end_in_words(error), not isinstance(error, ActorUnavailableError)
    return status, text, True


if __name__ == "__main__":
    main()
