"""The record of worker processes."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import psutil
import pytest

from studies.database import Database
from studies.errors import StudyNotFound
from studies.workers import (
    count_living,
    count_slots,
    describe_worker,
    end_worker,
    list_workers,
    register_worker,
    touch_worker,
)
from study_examples import STUDY, study_of


def register(database: Database, worker_id: str, host: str = "here", pid: int = 1) -> None:
    register_worker(
        database,
        STUDY.name,
        worker_id,
        host=host,
        pid=pid,
        process_started_at=psutil.Process().create_time(),
        device="cpu",
        versions={"python": "3.11"},
    )


def test_a_worker_can_be_found_again_as_a_process_of_this_machine(database: Database) -> None:
    study_of(database, 0)
    register(database, "anna", pid=os.getpid())
    register(database, "bert", host="elsewhere")
    (worker,) = list_workers(database, STUDY.name, host="here", ended=False)
    process = psutil.Process(worker.pid)
    assert worker.process_started_at == pytest.approx(process.create_time(), abs=1e-3)
    assert (worker.id, worker.study, worker.device) == ("anna", STUDY.name, "cpu")
    assert worker.versions == {"python": "3.11"}
    assert abs(worker.started_at - time.time()) < 5.0


def test_a_worker_that_is_heard_of_was_seen_later(database: Database) -> None:
    study_of(database, 0)
    register(database, "anna")
    time.sleep(0.02)
    touch_worker(database, "anna")
    (worker,) = list_workers(database)
    assert worker.seen_at > worker.started_at
    assert worker.ended_at is None


def test_a_worker_ends_once(database: Database) -> None:
    study_of(database, 0)
    register(database, "anna")
    register(database, "bert")
    end_worker(database, "anna")
    (ended,) = list_workers(database, ended=True)
    time.sleep(0.02)
    end_worker(database, "anna")
    touch_worker(database, "anna")
    (later,) = list_workers(database, ended=True)
    assert replace(later, silent_seconds=ended.silent_seconds) == ended
    assert [worker.id for worker in list_workers(database, ended=False)] == ["bert"]


def test_registering_again_starts_anew(database: Database) -> None:
    study_of(database, 0)
    register(database, "anna")
    end_worker(database, "anna")
    register(database, "anna", pid=2)
    (worker,) = list_workers(database)
    assert (worker.pid, worker.ended_at) == (2, None)


def test_workers_of_a_study_that_does_not_exist_are_no_empty_list(database: Database) -> None:
    with pytest.raises(StudyNotFound, match="got 'nowhere'"):
        list_workers(database, "nowhere")
    with pytest.raises(StudyNotFound, match="got 'digits-beta'"):
        register(database, "anna")


def test_the_slots_of_living_workers_are_counted_one_each_unless_they_say_more(
    database: Database,
) -> None:
    study_of(database, 0)
    assert count_slots(database, STUDY.name, 60.0) == 0
    for name in ("anna", "bert", "carl"):
        register(database, name)
    assert count_slots(database, STUDY.name, 60.0) == 3
    describe_worker(database, "bert", {"python": "3.11", "slots": 8})
    describe_worker(database, "carl", {"slots": 100})
    end_worker(database, "carl")
    assert count_slots(database, STUDY.name, 60.0) == 9
    assert count_living(database, STUDY.name, 60.0) == 2
    assert list_workers(database)[1].versions == {"python": "3.11", "slots": 8}
