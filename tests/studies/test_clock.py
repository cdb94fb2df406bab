"""The database's clock, against this machine's."""

from __future__ import annotations

import time

from sqlalchemy import select

from studies.clock import now
from studies.database import Database


def read(database: Database) -> float:
    with database.read() as connection:
        return float(connection.scalar(select(now())) or 0.0)


def test_it_counts_the_seconds_since_1970_in_utc(database: Database) -> None:
    before = time.time()
    seen = read(database)
    assert before - 0.01 < seen < time.time() + 0.01


def test_it_resolves_milliseconds(database: Database) -> None:
    first = read(database)
    time.sleep(0.02)
    assert 0.015 < read(database) - first < 5.0


def test_it_goes_on_inside_a_transaction(database: Database) -> None:
    """A lease is measured after the wait for the write lock, not before it."""
    with database.write() as connection:
        first = connection.scalar(select(now())) or 0.0
        time.sleep(0.02)
        assert (connection.scalar(select(now())) or 0.0) - first > 0.015
