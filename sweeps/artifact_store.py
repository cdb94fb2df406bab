"""Where large files go: a store named by URL that keeps bytes under keys, whole or not at all.

A key is a relative path with slashes, such as ``sweep/00003-1a2b3c4d/model-001.safetensors``. A
write is atomic in every store: whoever reads gets all of the old content or all of the new.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import final
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from sweeps.errors import SweepError

__all__ = [
    "ArtifactStore",
    "KeyMissing",
    "StoreError",
    "StoreFull",
    "StoredFile",
    "check_key",
    "local_directory",
    "open_store",
    "store_url",
]

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/")  # one letter is a drive of Windows
_MUST = "An artifact store must be a directory, file:///DIRECTORY or s3://BUCKET/PREFIX"
_HINTS = {
    "gs": "; Google's storage speaks S3 too: s3://BUCKET?endpoint=https://storage.googleapis.com",
    "http": "; name the server as a parameter: s3://BUCKET/PREFIX?endpoint=http://HOST:PORT",
    "https": "; name the server as a parameter: s3://BUCKET/PREFIX?endpoint=https://HOST",
    "minio": "; MinIO speaks S3: s3://BUCKET/PREFIX?endpoint=http://HOST:9000",
    "s3a": "; did you mean s3://?",
    "s3n": "; did you mean s3://?",
}


class StoreError(SweepError):
    """An artifact store that cannot be opened, read or written; the message is one line."""


@final
class KeyMissing(StoreError):  # noqa: N818  (reads as what happened)
    """Nothing is stored under a key."""


@final
class StoreFull(StoreError):  # noqa: N818  (reads as what happened)
    """A store has no room left; nothing was changed, and the write can be tried again."""


@final
@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """What a store holds under one key.

    Attributes:
        key: Its key.
        size: Its bytes.
    """

    key: str
    size: int


class ArtifactStore(ABC):
    """Bytes under keys; safe to use by many processes and machines at once."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The name under which `open_store` opens it again, without secrets."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Stores the content, all of it or nothing, and keeps it through a power cut.

        Raises:
            StoreFull: There is no room for it.
            StoreError: The store cannot be written.
        """

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The content under a key.

        Raises:
            KeyMissing: There is none.
            StoreError: The store cannot be read.
        """

    @abstractmethod
    def keys(self, folder: str = "") -> list[StoredFile]:
        """Everything below a folder, at any depth, in the order of the keys; all if it is empty.

        Raises:
            StoreError: The store cannot be read.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Removes a key; nothing happens if it is not there.

        Raises:
            StoreError: The store cannot be written.
        """

    @abstractmethod
    def clear_leftovers(self, folder: str) -> int:
        """Removes what killed writers left half-written directly in a folder, and counts it.

        Only who alone may write to the folder may ask for it.

        Raises:
            StoreError: The store cannot be written.
        """

    @abstractmethod
    def create(self) -> None:
        """Makes the place that the keys are kept in, where it is missing and may be made.

        Only for whoever makes a study: where its workers find no such place, they stand on a
        machine that does not share it.

        Raises:
            StoreError: It cannot be made.
        """

    @final
    def check(self, *, create: bool = True) -> None:
        """Passes if the store can be written, by writing to it; leaves nothing behind.

        Args:
            create: Whether to make its place first, as for a new study; a worker does not.

        Raises:
            StoreError: It cannot; the message says why.
        """
        if create:
            self.create()
        key = f"write-test-{uuid4().hex}"
        self.put(key, b"rdsweep may write here")
        self.delete(key)


def open_store(url: str) -> ArtifactStore:
    """The store of a URL: a directory (a path or ``file:///…``), or ``s3://bucket/prefix``.

    Raises:
        StoreError: It is no URL of a store, or what it needs is not installed.
    """
    directory = local_directory(url)
    if directory is None:
        from sweeps.s3_store import S3Store

        return S3Store(url)
    from sweeps.directory_store import DirectoryStore

    return DirectoryStore(directory)


def store_url(text: str) -> str:
    """A store's name, the same wherever it is read: relative paths are made absolute.

    Raises:
        StoreError: It is no URL of a store, or holds a secret.
    """
    directory = local_directory(text)
    if directory is not None:
        return str(directory)
    from sweeps.s3_url import S3Url

    return str(S3Url.of(text))


def local_directory(url: str) -> Path | None:
    """The absolute directory that a URL names; None for one of object storage.

    Raises:
        StoreError: It is no URL of a store.
    """
    found = _URL.match(url)
    if found is None:
        return Path(url).expanduser().absolute()
    scheme = found["scheme"].lower()
    if scheme == "s3" and url[len("s3:") :].startswith("//"):
        return None
    if scheme == "file":
        return _directory_of(url)
    hint = "; write two slashes: s3://BUCKET/PREFIX" if scheme == "s3" else _HINTS.get(scheme, "")
    message = f"{_MUST}, but got {scheme}:…{hint}."  # the rest may hold a secret
    raise StoreError(message)


def _directory_of(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        message = f"{_MUST}, but got file:…; write three slashes: file:///DIRECTORY."
        raise StoreError(message)
    if parts.query or parts.fragment:
        message = f"{_MUST}, but got {url!r}; write ? and # in a name as %3F and %23."
        raise StoreError(message)
    return Path(unquote(parts.path))


def check_key(key: str) -> None:
    """Passes if a key is a relative path whose parts are plain names.

    Raises:
        StoreError: It could lead out of the store, or be taken for a leftover.
    """
    parts = key.split("/")
    if not all(parts) or any(part.startswith(".") for part in parts) or "\\" in key:
        message = (
            "A key must be a relative path whose parts neither are empty nor begin with a dot, "
            f"but got {key!r}."
        )
        raise StoreError(message)
