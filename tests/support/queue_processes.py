"""What tests run in processes of their own, on one database."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from sqlalchemy import Column

from studies.database import open_database, prepare_schema, schema_lock
from studies.leases import take_trial
from studies.outcomes import finish_trial, store_epoch
from studies.queue import add_trials, counts
from studies.reuse import finished_equivalent, reuse_trial
from studies.sampler_lease import acquire_sampler, release_sampler
from study_examples import EVALUATION, LATENTS, epoch_record, new_trial


def in_processes(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Returns what the calls return, each made in a fresh process, all at once."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(calls), mp_context=fresh) as pool:
        futures = [pool.submit(function, *call) for call in calls]
        return [future.result(timeout=120) for future in futures]


def make_tables(url: str) -> str:
    """Makes our tables and Optuna's under the schema lock."""
    from optuna.storages import RDBStorage

    database = open_database(url)
    prepare_schema(database)
    with schema_lock(database):
        RDBStorage(database.url)
    database.close()
    return "made"


def die_while_migrating(url: str) -> None:
    """Is killed when all but the last step of the migration, the column `note`, is done."""
    from alembic import op

    add_column = op.add_column

    def add_or_die(table_name: str, column: Column[Any], **options: Any) -> None:
        if column.name == "note":
            os.kill(os.getpid(), signal.SIGKILL)
        add_column(table_name, column, **options)

    op.add_column = add_or_die
    prepare_schema(open_database(url))


def take_all(url: str, study: str, process: int, threads: int) -> list[tuple[str, int, int]]:
    """Takes trials in many threads until none is left: (worker, number, attempt) of each."""
    database = open_database(url)

    def drain(thread: int) -> list[tuple[str, int, int]]:
        worker, taken = f"worker-{process}-{thread}", []
        while lease := take_trial(database, study, worker, lease_seconds=600.0, max_attempts=3):
            taken.append((worker, lease.number, lease.attempt))
        return taken

    with ThreadPoolExecutor(threads) as pool:
        results = [taken for drained in pool.map(drain, range(threads)) for taken in drained]
    database.close()
    return results


def work_all(url: str, study: str, process: int) -> list[int]:
    """Takes trials and brings each to its end; returns their numbers."""
    database = open_database(url)
    done = []
    worker = f"worker-{process}"
    while lease := take_trial(database, study, worker, lease_seconds=600.0, max_attempts=3):
        for epoch in range(1, 4):
            store_epoch(database, lease, epoch_record(epoch))
        finish_trial(database, lease, EVALUATION, LATENTS, [])
        done.append(lease.number)
    database.close()
    return done


def work_once_each(url: str, study: str, process: int) -> list[int]:
    """Brings all trials to their end, equivalent ones by reuse; returns those it trained."""
    database = open_database(url)
    trained, worker = [], f"worker-{process}"
    while counts(database, study)["queued"]:
        lease = take_trial(
            database, study, worker, lease_seconds=600.0, max_attempts=3, dedupe=True
        )
        if lease is None:
            time.sleep(0.005)  # all that are left wait for the other process
            continue
        assert lease.equivalence is not None
        source = finished_equivalent(database, study, lease.equivalence)
        if source is not None:
            reuse_trial(database, lease, source.number)
            continue
        store_epoch(database, lease, epoch_record(1))
        time.sleep(0.05)
        finish_trial(database, lease, EVALUATION, LATENTS, [])
        trained.append(lease.number)
    database.close()
    return trained


def suggest(url: str, study: str, process: int, wanted: int) -> int:
    """Suggests trials in turns with others, and returns how many this process added."""
    database = open_database(url)
    worker, added, known = f"worker-{process}", 0, 0
    while known < wanted:
        if acquire_sampler(database, study, worker, seconds=60.0):
            known = sum(counts(database, study).values())
            batch = [new_trial(number) for number in range(known, min(known + 5, wanted))]
            added += len(add_trials(database, study, batch))
            release_sampler(database, study, worker)
    database.close()
    return added


def take_and_die(url: str, study: str, worker: str) -> None:
    """Takes a trial, stores an epoch and is killed without a chance to clean up."""
    database = open_database(url)
    lease = take_trial(database, study, worker, lease_seconds=600.0, max_attempts=3)
    if lease is not None:
        store_epoch(database, lease, epoch_record(1))
    os.kill(os.getpid(), signal.SIGKILL)
