"""A killer, seeded: what it does to the workers of a sweep, to their desk and to their server.

It goes by the sweep's progress, not by the clock, so that a busy machine gets the same number of
blows and the sweep always gets on.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, final

import psutil

from postgres_server import PrivateServer

Victim = Literal["worker", "desk", "server"]
Blow = Literal["SIGKILL", "SIGTERM", "SIGSTOP", "fast", "immediate"]

TOKEN = "RDSWEEP_CHAOS_TOKEN"

_BLOWS: tuple[tuple[Victim, Blow, int], ...] = (
    ("worker", "SIGKILL", 9),
    ("worker", "SIGTERM", 5),
    ("worker", "SIGSTOP", 7),
    ("desk", "SIGKILL", 2),
    ("desk", "SIGTERM", 1),
    ("desk", "SIGSTOP", 1),
)
_POLL_SECONDS = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class Injection:
    """One blow.

    Attributes:
        finished: how many trials are finished when it is due.
        victim: what it hits.
        blow: a signal, or how the server is stopped.
        delay: seconds from when it is due.
        seconds: how long a process sleeps, or the server stays away.
        choice: which of the processes, from 0 to 1.
    """

    finished: int
    victim: Victim
    blow: Blow
    delay: float
    seconds: float
    choice: float


def plan(seed: int, *, trials: int, lease_seconds: float, server: bool) -> list[Injection]:
    """The blows for a sweep, in order; the same for the same seed.

    Args:
        seed: of all that is random.
        trials: that are wanted; the last blow is due some trials before.
        lease_seconds: every sleep is longer.
        server: whether the server is stopped twice.
    """
    rng = random.Random(seed)
    kinds = [(victim, blow) for victim, blow, times in _BLOWS for _ in range(times)]
    injections = [
        Injection(
            finished=rng.randrange(trials * 19 // 20),
            victim=victim,
            blow=blow,
            delay=rng.uniform(0.0, 0.5),
            seconds=lease_seconds * rng.uniform(1.2, 2.5),
            choice=rng.random(),
        )
        for victim, blow in kinds
    ]
    stops: list[tuple[Blow, int]] = [("fast", trials // 3), ("immediate", 2 * trials // 3)]
    if server:
        injections += [
            Injection(
                finished=finished + rng.randrange(trials // 10),
                victim="server",
                blow=blow,
                delay=0.0,
                seconds=rng.uniform(0.5, 2.0),
                choice=0.0,
            )
            for blow, finished in stops
        ]
    return sorted(injections, key=lambda injection: injection.finished)


@final
@dataclass(kw_only=True)
class Killer:
    """Carries a plan out.

    Attributes:
        sweep: the process of `rdsweep run`.
        injections: the plan.
        training: the pids of the workers that train a trial; they are hit first.
        server: the server, if its stops are part of the plan.
        log: what was done, a line each.
    """

    sweep: subprocess.Popen[bytes]
    injections: list[Injection]
    training: Callable[[], set[int]]
    server: PrivateServer | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._due: list[tuple[float, Injection]] = []
        self._asleep: list[tuple[float, psutil.Process]] = []

    def run(self, finished: Callable[[], int], *, at_most: float) -> int:
        """Strikes until the sweep has ended; its exit status.

        Args:
            finished: how many trials are finished.
            at_most: seconds until it is too long.
        """
        waiting = list(self.injections)
        try:
            while (status := self.sweep.poll()) is None:
                now = time.monotonic()
                assert now - self._began < at_most, f"not over after {at_most:g} s"
                count = finished()
                while waiting and waiting[0].finished <= count:
                    injection = waiting.pop(0)
                    self._due.append((now + injection.delay, injection))
                self._wake()
                self._due = [(at, i) for at, i in self._due if at > now or not self._strike(i)]
                time.sleep(_POLL_SECONDS)
        finally:
            self._wake(all_of_them=True)
        left = [f"{i.blow} {i.victim}" for i in [*(i for _, i in self._due), *waiting]]
        self._say(f"the sweep ended with {status}; not injected: {left or 'nothing'}")
        return status

    def _strike(self, injection: Injection) -> bool:
        """Whether there was a victim."""
        if injection.victim == "server":
            self._restart_server(injection)
            return True
        found = list(_processes(self.sweep.pid, injection.victim))
        if not found:
            return False
        training = self.training() if injection.victim == "worker" else set()
        found = [process for process in found if process.pid in training] or found
        process = found[int(injection.choice * len(found))]
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.Signals[injection.blow])
        if injection.blow == "SIGSTOP":
            self._asleep.append((time.monotonic() + injection.seconds, process))
        sleep = f" for {injection.seconds:.1f} s" if injection.blow == "SIGSTOP" else ""
        self._say(f"{injection.blow} {injection.victim} {process.pid}{sleep}", injection.finished)
        return True

    def _restart_server(self, injection: Injection) -> None:
        assert self.server is not None
        assert injection.blow in ("fast", "immediate")
        said = f"server stopped ({injection.blow}) for {injection.seconds:.1f} s"
        self._say(said, injection.finished)
        self.server.stop("fast" if injection.blow == "fast" else "immediate")
        time.sleep(injection.seconds)
        self.server.start()
        self._say("server started")

    def _wake(self, *, all_of_them: bool = False) -> None:
        now = time.monotonic()
        due = [process for at, process in self._asleep if all_of_them or at <= now]
        self._asleep = [pair for pair in self._asleep if pair[1] not in due]
        for process in due:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
                self._say(f"SIGCONT {process.pid}")

    def _say(self, what: str, finished: int | None = None) -> None:
        after = "" if finished is None else f"after {finished} trials: "
        self.log.append(f"{time.monotonic() - self._began:6.1f} s  {after}{what}")


@contextmanager
def cleared_up(token: str) -> Iterator[None]:
    """Ends all processes with the token when it is left."""
    try:
        yield
    finally:
        for process in processes_with(token):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def processes_with(token: str) -> list[psutil.Process]:
    """The living processes whose environment has the token, but this one."""
    return [process for process in psutil.process_iter() if _has(process, token)]


def _has(process: psutil.Process, token: str) -> bool:
    with suppress(psutil.Error):
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(TOKEN) == token
    return False


def _processes(sweep: int, kind: str) -> Iterator[psutil.Process]:
    """The workers or desks below `rdsweep run`, the oldest first."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(sweep).children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                if "sweeps.cli" in words and words[words.index("sweeps.cli") + 1] == kind:
                    yield process
