"""Worker processes on this machine: started, watched, restarted when they die, stopped."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.devices import Placement
from sweeps.storage import VARIABLE

MAX_RESTARTS = 3


@dataclass(frozen=True, kw_only=True)
class Death:
    """A worker process that ended without having finished its work.

    Attributes:
        worker_id: under which it was registered in the study.
        reason: its exit in words ("killed by SIGKILL", or the last line that it wrote).
        restarted: whether another was started in its place.
    """

    worker_id: str
    reason: str
    restarted: bool


@dataclass(kw_only=True)
class _Seat:
    """A place for one worker; who sits there changes with every restart."""

    placement: Placement
    log: Path
    worker_id: str = ""
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0
    restarts: int = 0
    ended: bool = False


class LocalLauncher:
    """Runs `rdsweep worker` processes on this machine, one for each placement.

    Workers get a session of their own, so that Ctrl-C reaches only the process that watches them;
    they leave by themselves when that process vanishes.

    Args:
        study: the study that they work on.
        url: its database.
        placements: device and threads of each worker.
        logs: the directory for what they write, one file each.
    """

    def __init__(
        self, *, study: str, url: str, placements: Sequence[Placement], logs: Path
    ) -> None:
        self._study = study
        self._url = url
        self._stopping = False
        self._seats = [
            _Seat(placement=placement, log=logs / f"worker-{index}.log")
            for index, placement in enumerate(placements)
        ]
        logs.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts every worker."""
        for seat in self._seats:
            self._start(seat)

    @property
    def ended_well(self) -> bool:
        """Whether a worker found nothing left to do."""
        return any(seat.process is not None and seat.process.poll() == 0 for seat in self._seats)

    def forgive(self) -> None:
        """Counts restarts anew: the sweep has got on since the last death."""
        for seat in self._seats:
            seat.restarts = 0

    @property
    def running(self) -> int:
        """How many worker processes are alive."""
        return sum(
            seat.process is not None and seat.process.poll() is None for seat in self._seats
        )

    def deaths(self) -> list[Death]:
        """The workers that died since the last call; each is replaced up to three times."""
        found = []
        for seat in self._seats:
            if seat.ended or seat.process is None or seat.process.poll() is None:
                continue
            if seat.process.returncode == 0:
                seat.ended = True
                continue
            found.append(self._bury(seat, seat.process.returncode))
        return found

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch."""
        self._signal(signal.SIGTERM)

    def kill(self) -> list[str]:
        """Ends every worker at once; returns the ids of those that were alive."""
        alive = [
            seat.worker_id
            for seat in self._seats
            if seat.process is not None and seat.process.poll() is None
        ]
        self._signal(signal.SIGKILL)
        for seat in self._seats:
            if seat.process is not None:
                seat.process.wait()
        return alive

    def _signal(self, number: signal.Signals) -> None:
        self._stopping = True
        for seat in self._seats:
            if seat.process is not None and seat.process.poll() is None:
                seat.process.send_signal(number)

    def _bury(self, seat: _Seat, returncode: int) -> Death:
        worker_id, reason = seat.worker_id, _exit_in_words(returncode, seat)
        seat.restarts += 1
        restarted = seat.restarts <= MAX_RESTARTS and not self._stopping
        if restarted:
            self._start(seat)
        else:
            seat.ended = True
        return Death(worker_id=worker_id, reason=reason, restarted=restarted)

    def _start(self, seat: _Seat) -> None:
        seat.worker_id = uuid.uuid4().hex
        # -P: a `reports` or `studies` in the working directory must not hide our packages
        command = [sys.executable, "-P", "-m", "sweeps.cli", "worker", self._study]
        command += ["--device", seat.placement.device]
        command += ["--threads", str(seat.placement.threads)]
        command += ["--worker-id", seat.worker_id, "--parent-pid", str(os.getpid())]
        threads = str(seat.placement.threads)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            VARIABLE: self._url,  # not on the command line, where every user sees a password
        }
        with seat.log.open("ab") as log:
            seat.log_start = log.tell()
            seat.process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
            )


def _exit_in_words(returncode: int, seat: _Seat) -> str:
    if returncode < 0:
        known = {number.value: number.name for number in signal.Signals}
        return f"killed by {known.get(-returncode, f'signal {-returncode}')}"
    with seat.log.open("rb") as log:
        log.seek(seat.log_start)
        lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"ended with exit status {returncode}"
