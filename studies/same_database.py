"""Whether two URLs name one database, however they are written."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import text

from studies.database import Database

__all__ = ["are_same"]


def are_same(one: Database, other: Database) -> bool:
    """Returns whether both are the same file, or the same database of the same server.

    A server has many names, so it is asked: a lock that is held in a database is held there for
    all who are connected to it, and nowhere else.
    """
    if one.file is not None and other.file is not None:
        return _are_one_file(one.file, other.file)
    if one.file is not None or other.file is not None:
        return False
    key = {"key": secrets.randbits(63)}
    with one.read() as here, other.read() as there:
        here.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
        free = there.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), key)
    return not free


def _are_one_file(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()
