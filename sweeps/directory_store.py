"""Artifacts in a directory, on a local disk or on a file system that machines share."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final
from uuid import uuid4

from sweeps.artifact_store import (
    ArtifactStore,
    KeyMissing,
    StoredFile,
    StoreError,
    StoreFull,
    check_key,
)

__all__ = ["DirectoryStore"]

_LEFTOVER = ".part"
"""How the name of a file ends that is being written; it begins with a dot."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_NO_FILE = (FileNotFoundError, NotADirectoryError)
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@final
class DirectoryStore(ArtifactStore):
    """Files below a directory; no locks, so any shared file system will do.

    A write goes to a file of its own beside the target, reaches the disk (fsync), and takes the
    target's place by one rename. A writer that is killed leaves that file under a name that tells.

    Args:
        directory: It, absolute; it must exist before anything else than `create` is done.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def url(self) -> str:
        """The directory's path."""
        return str(self._directory)

    def create(self) -> None:
        """As the contract says."""
        with self._clear_faults("to keep artifacts", must_exist=False):
            _make_directory(self._directory)

    def put(self, key: str, content: bytes) -> None:
        """As the contract says; directories below the store's own are made."""
        path = self._path(key)
        with self._clear_faults(f"to write {key} ({len(content):,} bytes)"):
            _make_directory(path.parent)
            _write(path, content)

    def get(self, key: str) -> bytes:
        """As the contract says."""
        path = self._path(key)
        with self._clear_faults(f"to read {key}"):
            try:
                return path.read_bytes()
            except (*_NO_FILE, IsADirectoryError) as error:
                message = f"{key} must be in {self.url}, but there is no such file."
                raise KeyMissing(message) from error

    def keys(self, folder: str = "") -> list[StoredFile]:
        """As the contract says; hidden files are none of ours."""
        with self._clear_faults(f"to list {folder or 'it'}"):
            found = [
                StoredFile(key=path.relative_to(self._directory).as_posix(), size=size)
                for path, size in _files_below(self._folder(folder))
            ]
        return sorted(found, key=lambda file: file.key)

    def delete(self, key: str) -> None:
        """As the contract says; directories stay, since others may be about to write to them."""
        with self._clear_faults(f"to delete {key}"), suppress(*_NO_FILE):
            self._path(key).unlink()

    def clear_leftovers(self, folder: str) -> int:
        """As the contract says."""
        with self._clear_faults(f"to tidy {folder or 'it'}"):
            leftovers = list(self._folder(folder).glob(f".*{_LEFTOVER}"))
            for path in leftovers:
                path.unlink(missing_ok=True)
        return len(leftovers)

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._directory / key

    def _folder(self, folder: str) -> Path:
        return self._path(folder) if folder else self._directory

    @contextmanager
    def _clear_faults(self, purpose: str, *, must_exist: bool = True) -> Iterator[None]:
        try:
            if must_exist:
                self._refuse_missing(purpose)
            yield
        except OSError as error:
            raise _fault(self.url, purpose, error) from error

    def _refuse_missing(self, purpose: str) -> None:
        if self._directory.is_dir():
            return
        if self._directory.exists():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.url)
        message = (
            f"The directory {self.url} must exist on this machine ({socket.gethostname()}) "
            f"{purpose}, but it does not; mount the file system that holds it, or keep the "
            "artifacts where all machines can reach them: study.artifacts = "
            '"s3://BUCKET/PREFIX" or a shared directory.'
        )
        raise StoreError(message)


def _fault(directory: str, purpose: str, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StoreFull(
            f"The disk of {directory} must have room {purpose}, but it is full ({reason}); "
            "free some space."
        )
    if error.errno in _FORBIDDEN:
        return StoreError(
            f"The directory {directory} must be writable {purpose}, but: {reason}; check its "
            "permissions and how its disk is mounted, or name another one in study.artifacts."
        )
    if error.errno in _IN_THE_WAY:
        return StoreError(
            f"{directory} must be a directory {purpose}, but {error.filename} is in the way "
            f"({reason}); remove it, or name another directory in study.artifacts."
        )
    if error.errno == errno.ENOENT:
        return StoreError(
            f"What is in the directory {directory} must stay {purpose}, but it was removed "
            "meanwhile."
        )
    return StoreError(
        f"The directory {directory} must answer {purpose}, but its disk reported: {reason}."
    )


def _make_directory(directory: Path) -> None:
    """Makes a directory that survives a power cut, and those above it."""
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _sync_directory(directory.parent)


def _write(path: Path, content: bytes) -> None:
    """Puts the content in the path's place in one step, once the disk has all of it."""
    part = path.with_name(f".{path.name}.{uuid4().hex}{_LEFTOVER}")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Makes a new name in the directory survive a power cut, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def _files_below(top: Path) -> Iterator[tuple[Path, int]]:
    """The plain files at any depth with their sizes; what vanishes meanwhile is left out."""
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
    except _NO_FILE:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_below(Path(entry.path))
        else:
            with suppress(FileNotFoundError):
                yield Path(entry.path), entry.stat().st_size
