"""A worker's hold on the process that makes suggestions: started where none is, looked after."""

import os
import signal
import subprocess
import sys
import tempfile
from typing import IO, final

from studies.database import Database
from studies.sampler_lease import acquire_sampler, release_sampler
from sweeps.errors import SweepError
from sweeps.storage import VARIABLE

__all__ = ["DeskProcess"]

_START_SECONDS = 60.0
"""How long the sampler lease lasts for a process that has to start first."""

_MISTAKE = 2
"""Exit status of a command that ended in a line for its user."""

_CRASHES = 3
"""So many unexplained ends in a row are too many."""


@final
class DeskProcess:
    """Sees to it that somebody suggests trials: another's process, or one of this worker's own.

    Args:
        db: The database.
        study: Name of the study.
        worker_id: The worker; its process holds the lease under this name with ``/desk``.
        lease_seconds: How long the sampler lease lasts.
    """

    def __init__(self, db: Database, study: str, worker_id: str, lease_seconds: float) -> None:
        self._db = db
        self._study = study
        self._holder = f"{worker_id}/desk"
        self._lease_seconds = max(lease_seconds, _START_SECONDS)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._crashes = 0

    def ensure(self) -> None:
        """Starts a process if the sampler lease is free.

        Raises:
            SweepError: this worker's process ended with an error for the user.
            StudiesError: the database cannot be reached.
        """
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._bury(self._process.returncode)
        if acquire_sampler(self._db, self._study, self._holder, self._lease_seconds):
            self._start()

    def close(self) -> None:
        """Ends this worker's process, if it has one; it gives the lease back."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._errors is not None:
            self._errors.close()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        # -P: a `reports` or `studies` in the working directory must not hide our packages
        command = [sys.executable, "-P", "-m", "sweeps.cli", "desk", self._study]
        command += ["--holder", self._holder, "--parent-pid", str(os.getpid())]
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env={**os.environ, VARIABLE: self._db.url},
        )

    def _bury(self, returncode: int) -> None:
        release_sampler(self._db, self._study, self._holder)
        text = self._said()
        self._process = None
        if returncode == 0:
            self._crashes = 0
            return
        self._crashes += returncode > 0
        if returncode == _MISTAKE or self._crashes >= _CRASHES:
            lines = text.splitlines() or [f"the desk ended with exit status {returncode}"]
            raise SweepError(lines[-1].removeprefix("rdsweep: "))

    def _said(self) -> str:
        """What the process wrote; it goes into the worker's own log."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        self._errors.close()
        self._errors = None
        if text:
            sys.stderr.write(text + "\n")
        return text
