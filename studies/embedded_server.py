"""A PostgreSQL server of one's own, for a user who has none and outgrows SQLite on one machine.

It listens on 127.0.0.1 only and asks for a password (SCRAM), which stands in a file that only its
owner can read. The URL names that file, so no URL holds a secret.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import gethostname, socket
from typing import Literal, final

import psutil

from studies.errors import StorageError
from studies.postgresql_programs import ProgramError, Programs
from studies.server_directory import HOST, ServerDirectory

DATABASE = "rdsweep"
PORTS = range(5432, 5632)
START_SECONDS = 120.0

_TAKEN = "Address already in use"


@final
@dataclass(frozen=True, kw_only=True)
class StartedServer:
    """What `EmbeddedServer.start` did.

    Attributes:
        url: The database's URL, without a secret.
        release: PostgreSQL's release, as "18.4".
        fresh: Whether it was started just now.
        opened: Folders that other accounts may pass through from now on: as root, the server
            must run as another account.
    """

    url: str
    release: str
    fresh: bool
    opened: tuple[Path, ...]


@final
@dataclass(frozen=True, kw_only=True)
class EmbeddedServer:
    """The server that belongs to a directory; it outlives the process that starts it.

    Attributes:
        directory: Where it keeps everything; made by `start`.
        settings: More settings of PostgreSQL, for a server that is yet to be made.
    """

    directory: Path
    settings: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def home(self) -> ServerDirectory:
        """The directory, and what is in it."""
        return ServerDirectory(path=self.directory.absolute(), settings=self.settings)

    @property
    def url(self) -> str:
        """The URL of the database `rdsweep`, for all processes of this user on this machine.

        Raises:
            StorageError: If there is no server here.
        """
        self.home.check_made()
        return self.home.url(DATABASE)

    @property
    def pid(self) -> int | None:
        """The process that runs here, None if none does: a file may be left of a killed one."""
        try:
            pid = int((self.home.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
            return pid if self._runs_here(psutil.Process(pid)) else None
        except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
            return None

    def start(self, port: int | None = None) -> StartedServer:
        """Makes the server if there is none yet, starts it unless it runs, and waits for it.

        Args:
            port: Where to listen; by default where it did before, or the first free one.

        Raises:
            StorageError: If the extra is missing, the directory is in use for something else,
                the port is taken, or the server does not start.
        """
        home = self.home
        home.check_ours()
        with home.locked():
            programs = home.programs()
            opened = home.open_to_account()
            if not home.made:
                home.make(port or _free_port())
            fresh = self.pid is None
            if fresh:
                self._clear_up()
                self._launch(programs, port)
            elif port not in (None, home.port):
                raise StorageError(
                    f"The server in {self.directory} must be stopped before it gets port {port}, "
                    f"but it runs on port {home.port}; `rdsweep db stop`."
                )
            self._make_database()
        return StartedServer(
            url=self.url, release=programs.release, fresh=fresh, opened=tuple(opened)
        )

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> bool:
        """Returns whether a server ran here, which is stopped now.

        Args:
            mode: "fast" ends the connections and writes everything to its place; "immediate"
                just ends, and the next start recovers, without any loss.

        Raises:
            StorageError: If there is no server here, or it does not stop.
        """
        home = self.home
        home.check_made()
        with home.locked():
            if self.pid is None:
                return False
            order = ("-D", str(home.data), "-m", mode, "-w", "-t", "60")
            home.programs().run("pg_ctl", "stop", *order, account=home.account)
        return True

    def _runs_here(self, process: psutil.Process) -> bool:
        """Whether a process is the server or one of its children: they work in its directory."""
        try:
            return process.name() == "postgres" and Path(process.cwd()) == self.home.data.resolve()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _clear_up(self) -> None:
        """Forgets a server that was killed, once its last process has ended.

        PostgreSQL would do so itself, but not as long as its process id is in use: by a process
        that nobody has waited for, or by another one.
        """
        file = self.home.data / "postmaster.pid"
        if not file.exists():
            return
        if self.home.host not in (None, gethostname()):
            raise StorageError(
                f"The server in {self.directory} must not run on two machines, but it was started "
                f"on {self.home.host!r}; stop it there, or remove {file} if it is surely gone."
            )
        deadline = time.monotonic() + START_SECONDS
        while any(map(self._runs_here, psutil.process_iter())):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"All processes of the server in {self.directory} must end with it, but some "
                    "still run; end them."
                )
            time.sleep(0.05)
        file.unlink(missing_ok=True)

    def _launch(self, programs: Programs, port: int | None) -> None:
        """Starts the server; one that never ran and finds its port taken looks for another."""
        home = self.home
        if port is not None:
            home.set_port(port)
        fixed = port is not None or home.host is not None
        home.note_host(gethostname())
        while (problem := self._try_launch(programs)) is not None:
            if fixed or _TAKEN not in problem:
                raise self._launch_error(problem)
            home.set_port(_free_port(above=home.port))

    def _try_launch(self, programs: Programs) -> str | None:
        """Starts the server and returns None, or else why it did not start."""
        log = self.home.log
        start = log.stat().st_size if log.exists() else 0
        order = ("-D", str(self.home.data), "-l", str(log), "-w", "-t", f"{START_SECONDS:.0f}")
        try:
            programs.run("pg_ctl", "start", *order, account=self.home.account)
        except ProgramError as error:
            if not log.exists():
                return error.said
            with log.open("rb") as file:
                file.seek(start)
                return file.read().decode(errors="replace") or error.said
        return None

    def _launch_error(self, problem: str) -> StorageError:
        if _TAKEN in problem:
            return StorageError(
                f"Port {self.home.port} of {HOST} must be free for the server in "
                f"{self.directory}, but another process listens there; end it, or give another "
                "--port."
            )
        lines = problem.strip().splitlines()
        fatal = [line.partition("FATAL:  ")[2] for line in lines if "FATAL:  " in line]
        return StorageError(
            f"The server in {self.directory} must start, but it said: {[*lines, *fatal][-1]} "
            f"(all of it is in {self.home.log})."
        )

    def _make_database(self) -> None:
        import psycopg

        with psycopg.connect(self.home.url("postgres"), autocommit=True) as connection:
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(known, [DATABASE]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")


def _free_port(above: int = 0) -> int:
    """Returns the first port in `PORTS` above `above` on which nobody listens."""
    for port in PORTS:
        with socket() as probe:
            if port > above and probe.connect_ex((HOST, port)) != 0:
                return port
    raise StorageError(
        f"A port from {PORTS.start} to {PORTS.stop - 1} of {HOST} must be free, but none is; "
        "give another --port."
    )
