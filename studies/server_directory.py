"""The directory of an embedded PostgreSQL server, and how it is made.

    data/      what PostgreSQL keeps, with its log `server.log` and our settings `rdsweep.conf`
    pgpass     the password, as libpq reads it; nobody else can read the file
    host       the machine on which the server was started last
    lock       held while the server is made, started or stopped

As root, the server must run as another account, and `data` belongs to that account.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd
from typing import final
from urllib.parse import quote

from studies.errors import StorageError
from studies.postgresql_programs import Programs, find_programs, open_passage, server_account

HOST = "127.0.0.1"
USER = "rdsweep"
SETTINGS: Mapping[str, str | int] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": 300,
}
LOCK_SECONDS = 120.0

_PORT = re.compile(r"^port = (\d+)$", re.MULTILINE)
_OWN = frozenset({"host", "lock", "new", "password", "pgpass"})  # beside `data`


@final
@dataclass(frozen=True, kw_only=True)
class ServerDirectory:
    """Where an embedded server keeps everything.

    Attributes:
        path: The directory, absolute.
        settings: More lines of the configuration, for a server that is yet to be made.
    """

    path: Path
    settings: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self.data / "server.log"

    @property
    def account(self) -> struct_passwd | None:
        """Who the server runs as; None for ourselves."""
        return server_account(self.data)

    @property
    def made(self) -> bool:
        """Whether there is a data directory."""
        return (self.data / "PG_VERSION").exists()

    @property
    def host(self) -> str | None:
        """The machine on which the server was started last, None if it never was."""
        file = self.path / "host"
        return file.read_text(encoding="utf-8").strip() if file.exists() else None

    @property
    def port(self) -> int:
        """The port, kept from the first start on."""
        found = _PORT.search(self._settings_file.read_text(encoding="utf-8"))
        if found is None:
            raise StorageError(f"{self._settings_file} must say `port = …`, but it does not.")
        return int(found[1])

    def url(self, database: str) -> str:
        """Returns the URL of a database, which names the file with the password."""
        passfile = quote(str(self._passfile))
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}?passfile={passfile}"

    def programs(self) -> Programs:
        """Returns the programs that belong to the data, by default the newest ones.

        Raises:
            StorageError: If they are not installed.
        """
        if not self.made:
            return find_programs()
        return find_programs(int((self.data / "PG_VERSION").read_text(encoding="utf-8")))

    def check_made(self) -> None:
        """Passes if there is a server here.

        Raises:
            StorageError: If there is none.
        """
        if not self.made:
            raise StorageError(
                f"A server must have been made in {self.path}, but there is none; "
                "`rdsweep db start`, or name its --directory."
            )

    def check_ours(self) -> None:
        """Passes if the directory may be used for a server; leaves it as it is.

        Raises:
            StorageError: If it holds something else.
        """
        if self.made or not self.path.is_dir():
            return
        strange = {entry.name for entry in self.path.iterdir()} - _OWN
        if strange and not self.made:  # another process may just have made it
            raise StorageError(
                f"{self.path} must be empty or hold a server, but it holds {min(strange)!r}; "
                "name another --directory."
            )

    def note_host(self, name: str) -> None:
        """Notes on which machine the server is started."""
        _write(self.path / "host", name + "\n")

    def set_port(self, port: int) -> None:
        """Changes the port, from the next start on."""
        text = self._settings_file.read_text(encoding="utf-8")
        _write(self._settings_file, _PORT.sub(f"port = {port}", text), self.account)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from making, starting or stopping the server.

        Raises:
            StorageError: If another one takes too long, or the directory cannot be written.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / "lock")
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise StorageError(
                f"{self.path}/lock must come free within {LOCK_SECONDS:g} s, but another process "
                "starts or stops the server."
            ) from error
        except OSError as error:
            raise StorageError(
                f"{self.path} must be a directory that can be written, but: {error.strerror}."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def make(self, port: int) -> None:
        """Makes the data directory; one that was left half made is made anew.

        Raises:
            StorageError: If it cannot be made.
        """
        new = self.path / "new"
        shutil.rmtree(new, ignore_errors=True)
        account = self.account
        new.mkdir(mode=0o700)
        if account is not None:
            os.chown(new, account.pw_uid, account.pw_gid)
        self._initialise(new, account)
        self._configure(new, port, account)
        new.rename(self.data)

    def open_to_account(self) -> list[Path]:
        """Lets the server's account come to its files, if it is not our own.

        Returns:
            Folders outside of this directory that it may pass through from now on.
        """
        if self.account is None:
            return []
        self.path.chmod(0o711)
        return open_passage(self.programs().folder / "postgres") + open_passage(
            self.path.resolve()
        )

    @property
    def _passfile(self) -> Path:
        return self.path / "pgpass"

    @property
    def _settings_file(self) -> Path:
        return self.data / "rdsweep.conf"

    def _initialise(self, data: Path, account: struct_passwd | None) -> None:
        """Lets initdb make the data directory, with a new password that it reads from a file."""
        password, given = secrets.token_urlsafe(24), self.path / "password"
        _write(self._passfile, f"{HOST}:*:*:{USER}:{password}\n")
        try:
            _write(given, password, account)
            find_programs().run(
                "initdb",
                f"--pgdata={data}",
                f"--username={USER}",
                "--auth=scram-sha-256",
                f"--pwfile={given}",
                "--encoding=UTF8",
                "--no-locale",
                account=account,
            )
        finally:
            given.unlink(missing_ok=True)

    def _configure(self, data: Path, port: int, account: struct_passwd | None) -> None:
        wanted = {**SETTINGS, **self.settings}
        lines = ["# Made by rdsweep.", f"port = {port}"]
        lines += [f"{name} = '{value}'" for name, value in wanted.items()]
        _write(data / self._settings_file.name, "\n".join([*lines, ""]), account)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as main:
            main.write(f"\ninclude '{self._settings_file.name}'\n")


def _write(path: Path, text: str, account: struct_passwd | None = None) -> None:
    """Writes a file that only one account can read: ourselves, or the server's."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if account is not None:
            os.fchown(descriptor, account.pw_uid, account.pw_gid)
        file.write(text)
