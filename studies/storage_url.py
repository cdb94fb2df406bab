"""Storage URLs: read, and shown without their secrets."""

from __future__ import annotations

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from studies.errors import StorageError
from studies.masked_urls import masked


def server_name(url: URL) -> str:
    """Returns a server's URL as messages name it: without password, driver and parameters."""
    host = {name: value for name, value in url.query.items() if name == "host"}
    return url.set(drivername="postgresql", query=host).render_as_string(hide_password=True)


def parse_storage_url(url: str) -> URL:
    """Returns the parts of a storage URL, whose driver is `sqlite` or `postgresql`.

    Raises:
        StorageError: If it is malformed, or names a database that rdsweep does not support.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(
            "A storage URL must look like `sqlite:///FILE` or `postgresql://USER@HOST/NAME`, "
            f"but got {masked(url)!r}."
        ) from None  # the cause quotes the URL with its password
    backend = parsed.drivername.partition("+")[0]
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise StorageError(
            f"A storage URL must begin with `sqlite:` or `postgresql:`, but got {masked(url)!r}."
        )
    return parsed.set(drivername="sqlite" if backend == "sqlite" else "postgresql")
