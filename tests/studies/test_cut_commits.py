"""A write whose COMMIT is cut off is repeated, and is done exactly once: every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, get_args

import pytest
from sqlalchemy import select, text

from cutting_proxy import CuttingProxy, Moment
from postgres_server import missing, prepared_database
from studies import (
    launchers,
    leases,
    orders,
    outcomes,
    queue,
    reuse,
    sampler_lease,
    study_records,
    workers,
)
from studies.database import Database, open_database
from studies.leases import take_trial
from studies.records import Lease
from studies.tables import Base
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, epoch_record, new_trial, study_of

LEASE: dict[str, Any] = {"lease_seconds": 60.0, "max_attempts": 3}
PROCESS: dict[str, Any] = {"host": "here", "pid": 1, "process_started_at": 1.0}


def take(database: Database, worker: str = "anna", **options: Any) -> Lease:
    lease = take_trial(database, STUDY.name, worker, **LEASE, **options)
    assert lease is not None
    return lease


def register(database: Database) -> None:
    workers.register_worker(
        database, STUDY.name, "anna", **PROCESS, device="cpu", versions={"python": "3.11"}
    )


def register_launcher(database: Database) -> None:
    launchers.register_launcher(
        database, STUDY.name, "lara", **PROCESS, kind="local", workers_wanted=2
    )


def taken(database: Database) -> Lease:
    study_of(database, 3)
    register(database)
    return take(database)


def reusable(database: Database) -> Lease:
    """Makes two equivalent trials, one of them complete, and returns a lease on the other."""
    study_of(database, 0)
    same = [new_trial(number, equivalence="5a" * 32) for number in range(2)]
    queue.add_trials(database, STUDY.name, same)
    outcomes.finish_trial(database, take(database), EVALUATION, LATENTS, [ARTIFACT])
    return take(database)


def finished(database: Database) -> None:
    outcomes.finish_trial(database, taken(database), EVALUATION, LATENTS, [ARTIFACT])


def sampling(database: Database) -> None:
    study_of(database, 1)
    assert sampler_lease.acquire_sampler(database, STUDY.name, "anna", 60.0)


def launching(database: Database) -> None:
    study_of(database, 1)
    register_launcher(database)


def working(database: Database) -> None:
    study_of(database, 1)
    register(database)


def nothing(database: Database) -> None:
    pass


@dataclass(frozen=True)
class Write:
    """One public function that writes: what must be there before, and the call."""

    before: Callable[[Database], Any]
    call: Callable[[Database, Any], Any]


WRITES: dict[str, Write] = {
    "create_study": Write(nothing, lambda db, _: study_records.create_study(db, STUDY)),
    "update_study": Write(
        lambda db: study_of(db, 1),
        lambda db, _: study_records.update_study(db, replace(STUDY, trials_wanted=99)),
    ),
    "add_trials": Write(
        lambda db: study_of(db, 2),
        lambda db, _: queue.add_trials(db, STUDY.name, [new_trial(n) for n in range(5)]),
    ),
    "mark_told": Write(finished, lambda db, _: queue.mark_told(db, STUDY.name, [0])),
    "mark_exhausted": Write(
        lambda db: study_of(db, 1), lambda db, _: queue.mark_exhausted(db, STUDY.name, True)
    ),
    "take_trial": Write(lambda db: study_of(db, 3), lambda db, _: take(db)),
    "take_trial, a second one": Write(taken, lambda db, _: take(db)),
    "take_trial, with dedupe": Write(
        lambda db: study_of(db, 3), lambda db, _: take(db, dedupe=True)
    ),
    "take_trial, an abandoned one": Write(
        lambda db: leases.extend_lease(db, taken(db), -1.0), lambda db, _: take(db, "bert")
    ),
    "extend_lease": Write(taken, lambda db, lease: leases.extend_lease(db, lease, 60.0)),
    "extend_leases": Write(taken, lambda db, lease: leases.extend_leases(db, [lease], 60.0)),
    "release_trial": Write(taken, lambda db, lease: leases.release_trial(db, lease, "tired")),
    "release_worker": Write(
        taken, lambda db, _: leases.release_worker(db, "anna", "its process is gone")
    ),
    "store_epoch": Write(
        taken, lambda db, lease: outcomes.store_epoch(db, lease, epoch_record(1))
    ),
    "finish_trial": Write(
        taken,
        lambda db, lease: outcomes.finish_trial(db, lease, EVALUATION, LATENTS, [ARTIFACT]),
    ),
    "diverge_trial": Write(taken, lambda db, lease: outcomes.diverge_trial(db, lease, "nan")),
    "fail_trial": Write(taken, lambda db, lease: outcomes.fail_trial(db, lease, "bug")),
    "reuse_trial": Write(reusable, lambda db, lease: reuse.reuse_trial(db, lease, 0)),
    "register_worker": Write(lambda db: study_of(db, 1), lambda db, _: register(db)),
    "describe_worker": Write(
        working, lambda db, _: workers.describe_worker(db, "anna", {"slots": 3})
    ),
    "touch_worker": Write(working, lambda db, _: workers.touch_worker(db, "anna", "slow")),
    "end_worker": Write(working, lambda db, _: workers.end_worker(db, "anna", "done")),
    "acquire_sampler": Write(
        lambda db: study_of(db, 1),
        lambda db, _: sampler_lease.acquire_sampler(db, STUDY.name, "anna", 60.0),
    ),
    "extend_sampler": Write(
        sampling, lambda db, _: sampler_lease.extend_sampler(db, STUDY.name, "anna", 60.0)
    ),
    "release_sampler": Write(
        sampling, lambda db, _: sampler_lease.release_sampler(db, STUDY.name, "anna")
    ),
    "order_stop": Write(
        lambda db: study_of(db, 1), lambda db, _: orders.order_stop(db, STUDY.name, "drain")
    ),
    "clear_stop": Write(
        lambda db: study_of(db, 1), lambda db, _: orders.clear_stop(db, STUDY.name)
    ),
    "order_worker_stop": Write(
        working, lambda db, _: orders.order_worker_stop(db, ["anna"], "now")
    ),
    "register_launcher": Write(lambda db: study_of(db, 1), lambda db, _: register_launcher(db)),
    "touch_launcher": Write(launching, lambda db, _: launchers.touch_launcher(db, "lara")),
    "set_workers_wanted": Write(
        launching, lambda db, _: launchers.set_workers_wanted(db, "lara", 5)
    ),
    "end_launcher": Write(launching, lambda db, _: launchers.end_launcher(db, "lara")),
}


READS = {
    "count_living",
    "count_reused",
    "count_slots",
    "counts",
    "finished_equivalent",
    "get_study",
    "list_launchers",
    "list_studies",
    "list_workers",
    "outlook",
    "sampler_holder",
    "standing_order",
    "untold_trials",
}


def contents(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Returns all rows, without what differs between any two runs: times and identities."""
    with database.read() as connection:
        return {
            name: [
                {key: known(key, value) for key, value in row.items()}
                for row in connection.execute(
                    select(table).order_by(*table.primary_key)
                ).mappings()
            ]
            for name, table in Base.metadata.tables.items()
        }


def forget(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("DELETE FROM rdsweep_studies"))  # and all that belongs to them


def known(key: str, value: Any) -> Any:
    if key in ("id", "study_id", "trial_id") and isinstance(value, int):
        return "a key"  # a sequence has gaps where an insertion was rolled back
    if key == "uuid" or key.endswith(("_at", "_until")):
        return value is not None
    return value


def comparable(result: Any) -> Any:
    if is_dataclass(result):
        return {key: known(key, value) for key, value in vars(result).items()}
    return result


@contextmanager
def proxied() -> Iterator[tuple[Database, CuttingProxy]]:
    """Yields a fresh database that is reached by way of a proxy."""
    if reason := missing():
        pytest.skip(reason)
    with prepared_database() as url, CuttingProxy(url) as proxy:
        database = open_database(proxy.url)
        try:
            yield database, proxy
        finally:
            database.close()


@pytest.mark.parametrize("moment", get_args(Moment))
@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_commit_is_cut_is_done_exactly_once(name: str, moment: Moment) -> None:
    """Each of its COMMITs in turn; the outcome is that of a network without faults."""
    write = WRITES[name]
    with proxied() as (database, proxy):
        result = comparable(write.call(database, write.before(database)))
        rows = contents(database)
        commit, cuts = 0, 0
        while cuts == commit:
            forget(database)
            given = write.before(database)
            proxy.cut(commit, moment)
            assert comparable(write.call(database, given)) == result
            cuts, commit = proxy.cuts, commit + 1
            proxy.spare()
            assert contents(database) == rows
    assert cuts > 0


def test_every_function_that_writes_is_among_those_cut() -> None:
    tried = {name.partition(",")[0] for name in WRITES}
    modules = [launchers, leases, orders, outcomes, queue, reuse, sampler_lease, study_records]
    repeated = {
        name
        for module in [*modules, workers]
        for name, function in vars(module).items()
        if hasattr(function, "__wrapped__") and not name.startswith("_")
    }
    assert repeated - READS == tried, "a new function belongs to WRITES or to READS"
