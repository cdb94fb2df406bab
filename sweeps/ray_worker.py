"""What runs inside Ray: an actor that starts a worker process on its node, and sees to its end.

Its class is sent by value, so a node needs nothing but Python to load it: this file imports the
standard library only. The worker is a process of its own because torch, its signals and its
memory are then as they are everywhere else, and because its end can be seen whatever ends it.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

__all__ = ["RayWorker"]

LEFT_EARLY = 75
"""Exit status of a worker that left while there was work, as in `sweeps.launcher`."""

_OWN_LOG = "/proc/self/fd/2"


@final
class RayWorker:
    """A place for one worker process on a node, for a single use."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._log, self._log_start = "", 0

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        log: str,
        *,
        alone: bool = False,
    ) -> tuple[int, str]:
        """Runs a worker to its end; called again while it runs, waits for that end as well.

        Args:
            words: what follows `rdsweep` on its command line.
            environment: what its environment has in addition, the database's URL with it.
            log: the file that it writes to, if this node has that directory; else Ray's own log.
            alone: nobody waits: the place is given back when the worker has ended.

        Returns:
            Its exit status as `subprocess` gives it, and the last line that it wrote.
        """
        with self._guard:
            if self._process is None and not self._stopped:
                self._process = self._start(words, environment, log)
        if self._process is None:
            return LEFT_EARLY, ""
        status = self._process.wait()
        if alone:
            os._exit(0)
        return status, self._last_line()

    def is_here(self) -> bool:
        """True, as soon as there is a place on a node."""
        return True

    def stop(self) -> None:
        """Asks the worker to leave at its next epoch, or never starts it."""
        with self._guard:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()

    def _start(
        self, words: Sequence[str], environment: Mapping[str, str], log: str
    ) -> "subprocess.Popen[bytes]":
        has_directory = Path(log).parent.is_dir()
        self._log = log if has_directory else _OWN_LOG
        stream = (
            os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) if has_directory else 2
        )
        try:
            self._log_start = os.fstat(stream).st_size
            # -P: a `reports` or `studies` in the working directory must not hide our packages
            command = [sys.executable, "-P", "-m", "sweeps.fate_sharing", *words]
            return subprocess.Popen(  # noqa: S603 - our own command, no shell
                [*command, "--parent-pid", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        finally:
            if has_directory:
                os.close(stream)

    def _last_line(self) -> str:
        """The last line that the worker wrote; empty where it wrote none, or it cannot be read."""
        try:
            with Path(self._log).open("rb") as stream:
                stream.seek(self._log_start)
                lines = stream.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""
