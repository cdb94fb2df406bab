"""A fresh database for each test, on SQLite and on a real PostgreSQL (see `postgres_server`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import postgres_server
from studies.database import Database, open_database, prepare_schema

BACK_ENDS = ["sqlite", "postgresql"]


def database_url(back_end: str, folder: Path, *, prepared: bool) -> Iterator[str]:
    """Yields the URL of a new database, empty or with our tables."""
    if back_end == "sqlite":
        yield f"sqlite:///{folder / 'sweeps.db'}"
        return
    if reason := postgres_server.missing():
        pytest.skip(reason)
    make = postgres_server.prepared_database if prepared else postgres_server.empty_database
    with make() as url:
        yield url


@pytest.fixture(params=BACK_ENDS)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    yield from database_url(request.param, tmp_path, prepared=False)


@pytest.fixture(params=BACK_ENDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An open database with our tables."""
    for url in database_url(request.param, tmp_path, prepared=True):
        opened = open_database(url)
        prepare_schema(opened)
        yield opened
        opened.close()


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """The URL of a database with our tables on a real PostgreSQL."""
    yield from database_url("postgresql", Path(), prepared=True)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """An open SQLite database with our tables, which waits only briefly for others."""
    opened = open_database(
        f"sqlite:///{tmp_path / 'sweeps.db'}", busy_seconds=0.2, patience_seconds=0.0
    )
    prepare_schema(opened)
    yield opened
    opened.close()
