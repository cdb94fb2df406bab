"""A launcher's line to the process that holds the connection to a Ray cluster."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import final

from sweeps.errors import SweepError
from sweeps.ray_messages import Answer, Command, Connected, Event, LetGo, Refused
from sweeps.storage import VARIABLE

__all__ = ["RayConnection"]

CONNECT_SECONDS = 120.0
LEAVE_SECONDS = 30.0
LONGEST_LINE = 200

_left_alone: list["subprocess.Popen[bytes]"] = []
"""Processes that stay for workers that still run; Python complains of those that nobody holds."""


@final
class RayConnection:
    """Starts `sweeps.ray_driver` and speaks with it; nothing here waits for Ray.

    Args:
        address: of the cluster, as `run.ray_address`.
        detached: whether the workers are to outlive that process.
    """

    def __init__(self, address: str, *, detached: bool) -> None:
        self._address = address
        self._pipe, theirs = multiprocessing.Pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        mode = "detached" if detached else "attached"
        command = [sys.executable, "-P", "-m", "sweeps.ray_driver"]
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*command, str(theirs.fileno()), address, mode],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
            pass_fds=[theirs.fileno()],
            env=_environment(),
        )
        theirs.close()
        self._lost = False

    def wait(self) -> Connected:
        """Returns when the connection stands.

        Raises:
            SweepError: there is none.
        """
        answer = self._answer()
        if isinstance(answer, Connected):
            return answer
        reason = self._why_not(answer)
        self._process.kill()
        self.close(wait=True)
        raise SweepError(reason)

    def _why_not(self, answer: Refused | None) -> str:
        if answer is not None:
            return answer.reason
        if self._lost:
            return f"Ray must start, but it ended: {self.last_words()}"
        where = f"The Ray cluster at {self._address}" if self._address else "Ray on this machine"
        return f"{where} must answer within {CONNECT_SECONDS:.0f} s, but did not."

    def _answer(self) -> Answer | None:
        """The first message; None if the process took too long, or was lost."""
        try:
            if not self._pipe.poll(CONNECT_SECONDS):
                return None
            answer: Answer = self._pipe.recv()
        except (EOFError, OSError):
            self._lost = True
            return None
        return answer

    def tell(self, command: Command) -> None:
        """Says what to do; in vain if the process has gone, which `lost` then tells."""
        try:
            self._pipe.send(command)
        except OSError:
            self._lost = True

    def hear(self, seconds: float = 0.0) -> list[Event]:
        """What happened since the last call.

        Args:
            seconds: how long to wait for something to happen.
        """
        events: list[Event] = []
        try:
            while not self._lost and self._pipe.poll(0.0 if events else seconds):
                events.append(self._pipe.recv())
        except (EOFError, OSError):
            self._lost = True
        return events

    @property
    def lost(self) -> bool:
        """Whether the process has gone."""
        return self._lost

    def last_words(self) -> str:
        """The last line that the process wrote, apart from Ray's news; else its exit status."""
        self._output.seek(0)
        said = self._output.read().decode(errors="replace").strip().splitlines()
        lines = [line for line in said if line.strip() and "(raylet)" not in line]
        if lines:
            return lines[-1][:LONGEST_LINE]
        with suppress(subprocess.TimeoutExpired):  # its end of the pipe closes a little earlier
            self._process.wait(1.0)
        return f"exit status {self._process.returncode}"

    def close(self, *, wait: bool) -> None:
        """Lets the process go.

        Args:
            wait: it has nothing left to wait for, so that its end is near.
        """
        self.tell(LetGo())
        if wait:
            self._see_off()
        else:
            _left_alone.append(self._process)
        self._pipe.close()
        self._output.close()
        self._lost = True

    def _see_off(self) -> None:
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """Ray hands its driver's environment on; the database's URL goes another way."""
    return {name: value for name, value in os.environ.items() if name != VARIABLE}
