"""Leases stay alive while a worker is busy, and only its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.database import Database, open_database, prepare_schema
from studies.leases import release_worker, take_trial
from studies.queries import query_trials
from studies.queue import add_trials
from studies.records import Lease
from studies.study_records import create_study
from studies.workers import list_workers, register_worker
from study_examples import STUDY, new_trial
from sweeps.heartbeat import Heartbeat


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(f"sqlite:///{tmp_path / 'beats.db'}")
    prepare_schema(database)
    create_study(database, STUDY)
    add_trials(database, STUDY.name, [new_trial(number) for number in range(2)])
    register_worker(
        database,
        STUDY.name,
        "w",
        host="here",
        pid=1,
        process_started_at=0.0,
        device="cpu",
        versions={},
    )
    yield database
    database.engine.dispose()


def taken(db: Database, seconds: float) -> Lease:
    lease = take_trial(db, STUDY.name, "w", lease_seconds=seconds, max_attempts=3)
    assert lease is not None
    return lease


def test_a_beat_keeps_a_lease_that_would_have_run_out(db: Database) -> None:
    lease = taken(db, seconds=0.0)
    heartbeat = Heartbeat(db, "w", lease_seconds=60.0)
    heartbeat.hold(lease)
    heartbeat.beat()
    other = take_trial(db, STUDY.name, "other", lease_seconds=60.0, max_attempts=3)
    assert other is not None
    assert other.number != lease.number


def test_losing_one_lease_does_not_drop_the_next(db: Database) -> None:
    """The beat may find out about the old lease when the worker already holds another."""
    lost = taken(db, seconds=60.0)
    release_worker(db, "w", "declared dead")
    heartbeat = Heartbeat(db, "w", lease_seconds=60.0)
    heartbeat.hold(lost)
    held = taken(db, seconds=0.0)
    heartbeat._drop(lost)
    heartbeat.hold(held)
    heartbeat._drop(lost)
    heartbeat.beat()
    assert take_trial(db, STUDY.name, "other", lease_seconds=60.0, max_attempts=9) is not None
    states = {t.number: t.worker for t in query_trials(db, STUDY.name, where="state = 'running'")}
    assert states[held.number] == "w"


def test_the_thread_beats_until_it_is_left(db: Database) -> None:
    import time

    before = list_workers(db, STUDY.name)[0].seen_at
    with Heartbeat(db, "w", lease_seconds=0.2):
        time.sleep(0.5)
    assert list_workers(db, STUDY.name)[0].seen_at > before
