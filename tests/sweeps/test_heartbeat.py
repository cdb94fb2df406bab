"""Leases stay alive while a worker is busy, and only its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.database import Database, open_database, prepare_schema
from studies.leases import extend_lease, release_trial, release_worker, take_trial
from studies.queries import query_trials
from studies.queue import add_trials
from studies.records import Lease
from studies.running_trials import running_trials
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
    heartbeat.drop(lost)
    heartbeat.hold(held)
    heartbeat.drop(lost)
    heartbeat.beat()
    assert take_trial(db, STUDY.name, "other", lease_seconds=60.0, max_attempts=9) is not None
    states = {t.number: t.worker for t in query_trials(db, STUDY.name, where="state = 'running'")}
    assert states[held.number] == "w"


def test_several_leases_are_kept_and_the_loss_of_one_costs_no_other(db: Database) -> None:
    add_trials(db, STUDY.name, [new_trial(2)])
    leases = [taken(db, seconds=600.0) for _ in range(3)]
    heartbeat = Heartbeat(db, "w", lease_seconds=60.0)
    for lease in leases:
        heartbeat.hold(lease)
    release_trial(db, leases[1], "lost")
    for lease in (leases[0], leases[2]):
        extend_lease(db, lease, 0.0)
    heartbeat.beat()
    found = {trial.number: trial.lease_seconds for trial in running_trials(db, STUDY.name)}
    assert found == {0: pytest.approx(60.0, abs=5.0), 2: pytest.approx(60.0, abs=5.0)}
    heartbeat.drop(leases[0])
    for lease in (leases[0], leases[2]):
        extend_lease(db, lease, 0.0)
    heartbeat.beat()
    found = {trial.number: trial.lease_seconds for trial in running_trials(db, STUDY.name)}
    assert found == {0: pytest.approx(0.0, abs=5.0), 2: pytest.approx(60.0, abs=5.0)}


def test_the_first_of_several_hindrances_speaks_for_all(db: Database) -> None:
    heartbeat = Heartbeat(db, "w", lease_seconds=60.0)
    for _ in range(2):
        heartbeat.hold(taken(db, 60.0), lambda: "trial 1: the disk is full")
    heartbeat.beat()
    (worker,) = list_workers(db, STUDY.name)
    assert worker.note == "trial 1: the disk is full (and 1 more in hand)"


def test_the_thread_beats_until_it_is_left(db: Database) -> None:
    import time

    before = list_workers(db, STUDY.name)[0].seen_at
    with Heartbeat(db, "w", lease_seconds=0.2):
        time.sleep(0.5)
    assert list_workers(db, STUDY.name)[0].seen_at > before
