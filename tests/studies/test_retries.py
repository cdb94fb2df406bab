"""What fails for a passing reason is repeated, for as long as the database's patience lasts."""

from __future__ import annotations

import math
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import final

import pytest
from sqlalchemy import event, text

from postgres_server import PrivateServer, missing
from studies import (
    outcomes,
    queries,
    queue,
    retries,
    study_records,
)
from studies.database import Database, open_database, prepare_schema
from studies.errors import StorageError, StudyExists, TransientStorageError
from studies.leases import take_trial
from studies.records import Lease
from studies.retries import lose_patience, retried
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, study_of


def take(database: Database) -> Lease:
    lease = take_trial(database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    return lease


@final
class Clock:
    """Time that passes only while somebody sleeps; what happens meanwhile can be chosen."""

    def __init__(self) -> None:
        self.now, self.sleeps, self.most_sleeps = 0.0, 0, 10_000
        self.meanwhile: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1
        assert self.sleeps < self.most_sleeps, "it waits for ever"
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which `retries` waits."""
    made = Clock()
    monkeypatch.setattr(retries, "time", made)
    return made


def fail(calls: list[str], name: str) -> None:
    calls.append(name)
    raise TransientStorageError("The server must answer, but it does not.")


def test_patience_ends_when_it_was_said_to(sqlite_database: Database, clock: Clock) -> None:
    calls: list[str] = []
    patient = replace(sqlite_database, patience_seconds=300.0)
    with pytest.raises(TransientStorageError, match="must answer, but it does not"):
        retried(lambda _: fail(calls, "it"))(patient)
    assert clock.now == pytest.approx(300.0)
    assert 150 < len(calls) < 1000  # a second on average, as up to two are drawn


def test_without_patience_the_first_failure_is_raised(
    sqlite_database: Database, clock: Clock
) -> None:
    with pytest.raises(TransientStorageError, match="must answer"):
        retried(lambda _: fail([], "it"))(sqlite_database)
    assert clock.sleeps == 0


def test_nested_calls_wait_no_longer_than_one(sqlite_database: Database, clock: Clock) -> None:
    calls: list[str] = []
    inner = retried(lambda _: fail(calls, "inner"))
    outer = retried(inner)
    with pytest.raises(TransientStorageError, match="must answer"):
        outer(replace(sqlite_database, patience_seconds=60.0))
    assert clock.now == pytest.approx(60.0)


def test_a_call_that_always_fails_is_given_up_although_the_calls_within_succeed(
    sqlite_database: Database, clock: Clock
) -> None:
    """As on a full disk, where reading goes well."""
    within = retried(lambda _: None)

    def read_and_fail(database: Database) -> None:
        within(database)
        fail([], "it")

    with pytest.raises(TransientStorageError, match="must answer"):
        retried(read_and_fail)(replace(sqlite_database, patience_seconds=60.0))
    assert clock.now == pytest.approx(60.0)


def test_time_spent_in_the_failing_call_counts(sqlite_database: Database, clock: Clock) -> None:
    """SQLite waits for a lock by itself: nobody waits for it a second time."""
    calls: list[str] = []

    def slow(_: Database) -> None:
        clock.now += 60.0
        fail(calls, "slow")

    with pytest.raises(TransientStorageError, match="must answer"):
        retried(slow)(replace(sqlite_database, patience_seconds=5.0))
    assert calls == ["slow"]


def test_a_process_that_was_asked_to_end_waits_a_few_seconds_more(
    sqlite_database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries._Patience, "ends_at", math.inf)  # put back by the end of the test

    def ask() -> None:
        if clock.now > 20.0 and math.isinf(retries._Patience.ends_at):
            lose_patience(5.0)

    clock.meanwhile = ask
    with pytest.raises(TransientStorageError, match="must answer"):
        retried(lambda _: fail([], "it"))(replace(sqlite_database, patience_seconds=300.0))
    assert 25.0 < clock.now < 28.0


def test_what_does_not_pass_is_raised_at_once(sqlite_database: Database, clock: Clock) -> None:
    def refuse(_: Database) -> None:
        raise StorageError("The password must be right, but it is not.")

    with pytest.raises(StorageError, match="The password must be right"):
        retried(refuse)(replace(sqlite_database, patience_seconds=300.0))
    assert clock.sleeps == 0


def test_an_outage_is_two_lines_in_the_log(
    sqlite_database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is tried, and however many threads wait."""
    ends_at = 100.0

    def work(_: Database) -> str:
        if clock.now < ends_at:
            fail([], "it")
        return "done"

    patient = replace(sqlite_database, patience_seconds=300.0)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(retried(work), [patient] * 3)) == ["done"] * 3
    waiting, back = caplog.messages
    assert waiting == ("The server must answer, but it does not. Waiting for it, for up to 300 s.")
    assert re.fullmatch(rf"{sqlite_database.file} answers again, after \d+ s", back)


def test_a_deadlock_that_passes_at_once_is_not_worth_a_line(
    sqlite_database: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def work(_: Database) -> None:
        if not calls:
            fail(calls, "deadlock")

    retried(work)(replace(sqlite_database, patience_seconds=300.0))
    assert calls == ["deadlock"]
    assert caplog.messages == []


def test_a_full_disk_is_waited_for_until_there_is_room(
    sqlite_database: Database, clock: Clock
) -> None:
    study_of(sqlite_database, 1)
    lease = take(sqlite_database)
    large = replace(ARTIFACT, content=bytes(10**6), size=10**6)
    limit = 1  # SQLite takes the present size as the least possible

    def limit_pages(driver: sqlite3.Connection, _: object) -> None:
        driver.execute(f"PRAGMA max_page_count = {limit}")

    def make_room() -> None:
        nonlocal limit
        assert queue.counts(sqlite_database, STUDY.name)["running"] == 1
        limit = 10**6
        sqlite_database.close()

    sqlite_database.close()
    event.listen(sqlite_database.engine, "connect", limit_pages)
    clock.meanwhile = make_room
    patient = replace(sqlite_database, patience_seconds=60.0)
    outcomes.finish_trial(patient, lease, EVALUATION, LATENTS, [large])
    assert clock.sleeps == 1
    assert queue.counts(sqlite_database, STUDY.name)["complete"] == 1


@pytest.fixture(scope="module")
def private_server() -> Iterator[PrivateServer]:
    """A server that these tests stop and kill."""
    if reason := missing():
        pytest.skip(reason)
    with PrivateServer() as server:
        database = open_database(server.url)
        prepare_schema(database)
        study_of(database, 20)
        database.close()
        yield server


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_a_server_that_is_started_again_is_waited_for(
    how: str, private_server: PrivateServer, clock: Clock
) -> None:
    database = open_database(private_server.url, patience_seconds=60.0)
    lease = take(database)
    if how == "kill":
        private_server.kill()
    else:
        private_server.stop("fast" if how == "fast" else "immediate")
    clock.meanwhile = private_server.start
    outcomes.finish_trial(database, lease, EVALUATION, LATENTS, [ARTIFACT])
    assert clock.sleeps >= 1
    assert queries.trials_by_number(database, STUDY.name, [lease.number])[lease.number].state == (
        "complete"
    )
    database.close()


def test_opening_waits_for_a_server_that_is_being_started(
    private_server: PrivateServer, clock: Clock
) -> None:
    private_server.stop()
    clock.meanwhile = private_server.start
    database = open_database(private_server.url, patience_seconds=60.0)
    assert clock.sleeps == 1
    database.close()


def test_deadlocked_writers_both_succeed(postgresql_url: str) -> None:
    """PostgreSQL ends one of them after a second; it begins anew."""
    database = open_database(postgresql_url, patience_seconds=60.0)
    study_of(database, 2)
    both_hold_one = threading.Barrier(2)
    deadlocks: list[str] = []

    @retried
    def mark_both(database: Database, first: int, second: int) -> None:
        tell = text("UPDATE rdsweep_trials SET deaths = deaths + 1 WHERE number = :number")
        try:
            with database.write() as connection:
                connection.execute(tell, {"number": first})
                if not deadlocks:
                    both_hold_one.wait(timeout=30)
                connection.execute(tell, {"number": second})
        except TransientStorageError as error:
            deadlocks.append(str(error))
            raise

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(mark_both, database, *order) for order in [(0, 1), (1, 0)]]
        for call in calls:
            call.result(timeout=60)
    with database.read() as connection:
        assert connection.scalars(text("SELECT deaths FROM rdsweep_trials")).all() == [2, 2]
    (message,) = deadlocks
    assert "deadlock detected" in message
    database.close()


def test_a_name_that_is_taken_is_still_an_error(database: Database) -> None:
    study_of(database, 0)
    with pytest.raises(StudyExists, match="'digits-beta' exists already"):
        study_records.create_study(database, STUDY)
