"""The queue under many real processes on one database, and under processes that are killed."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter

from sqlalchemy import select

from queue_processes import (
    in_processes,
    suggest,
    take_all,
    take_and_die,
    work_all,
    work_once_each,
)
from studies.database import Database
from studies.leases import release_worker, take_trial
from studies.queries import query_trials
from studies.queue import add_trials, counts
from studies.tables import AttemptRow, EpochRow, TrialRow
from study_examples import STUDY, new_trial, study_of


def test_32_threads_in_4_processes_never_take_a_trial_twice(database: Database) -> None:
    study_of(database, 200)
    calls = [(database.url, STUDY.name, process, 8) for process in range(4)]
    taken = [lease for leases in in_processes(take_all, calls) for lease in leases]

    assert Counter(number for _, number, _ in taken) == Counter(range(200))
    assert {attempt for *_, attempt in taken} == {1}
    with database.read() as connection:
        holders = connection.execute(select(TrialRow.number, TrialRow.worker, TrialRow.attempt))
        assert {(row.worker, row.number, row.attempt) for row in holders} == set(taken)


def test_processes_that_train_side_by_side_lose_no_write(database: Database) -> None:
    study_of(database, 40)
    calls = [(database.url, STUDY.name, process) for process in range(4)]
    done = [number for numbers in in_processes(work_all, calls) for number in numbers]

    assert sorted(done) == list(range(40))
    assert counts(database, STUDY.name)["complete"] == 40
    with database.read() as connection:
        assert len(connection.execute(select(EpochRow.epoch)).all()) == 3 * 40
        outcomes = connection.scalars(select(AttemptRow.outcome)).all()
    assert outcomes == ["complete"] * 40


def test_processes_that_reuse_train_one_trial_of_each_kind(database: Database) -> None:
    study_of(database, 0)
    kinds = [f"{number % 5:064x}" for number in range(30)]
    trials = [new_trial(number, equivalence=kind) for number, kind in enumerate(kinds)]
    add_trials(database, STUDY.name, trials)
    calls = [(database.url, STUDY.name, process) for process in range(2)]
    trained = [number for numbers in in_processes(work_once_each, calls) for number in numbers]

    assert sorted(trained) == [0, 1, 2, 3, 4]
    done = query_trials(database, STUDY.name, where="state = 'complete'")
    assert [trial.number for trial in done] == list(range(30))
    assert [trial.reused_from for trial in done] == [None] * 5 + [n % 5 for n in range(5, 30)]


def test_processes_that_suggest_in_turns_add_each_number_once(database: Database) -> None:
    study_of(database, 0)
    calls = [(database.url, STUDY.name, process, 60) for process in range(3)]
    assert sum(in_processes(suggest, calls)) == 60
    assert counts(database, STUDY.name)["queued"] == 60


def test_a_killed_workers_trial_goes_to_the_next_worker(database: Database) -> None:
    study_of(database, 1)
    process = multiprocessing.get_context("spawn").Process(
        target=take_and_die, args=(database.url, STUDY.name, "anna")
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert counts(database, STUDY.name)["running"] == 1

    assert release_worker(database, "anna", "its process is gone") == [0]
    lease = take_trial(database, STUDY.name, "bert", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    assert (lease.number, lease.attempt) == (0, 2)
