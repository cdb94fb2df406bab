"""A fresh database for each test, on every back end that is at hand.

PostgreSQL joins in where RDSWEEP_TEST_POSTGRES is the URL of a server on which the tests may
make databases, as postgresql://postgres@127.0.0.1:5432/postgres.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from studies.database import Database, open_database, prepare_schema

SERVER = os.environ.get("RDSWEEP_TEST_POSTGRES", "")


@pytest.fixture(params=["sqlite", "postgresql"] if SERVER else ["sqlite"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'sweeps.db'}"
        return
    server = make_url(SERVER).set(drivername="postgresql+psycopg")
    name = f"fresh_{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        yield server.set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


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
