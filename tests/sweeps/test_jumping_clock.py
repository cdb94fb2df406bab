"""Clocks that jump: a sweep loses nothing, and on a server does not even notice.

The clock of `rdsweep run` and all its workers is set; on SQLite it is the database's as well, which has no other.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import postgres_server
from agreement import check_finished, check_rows
from rdsweep_command import Rdsweep
from studies.attempts import attempts_of
from studies.database import Database, open_database
from studies.errors import StudiesError
from studies.queries import query_trials
from studies.queue import outlook
from studies.records import TrialRecord

Wait = Callable[[Callable[[], object]], None]

CLOCK = Path(__file__).parents[1] / "support" / "jumping_clock"
JUMPS = {2: 7200.0, 4: -10800.0, 6: 400 * 86400.0}
"""By how many seconds the clock is off once so many trials are finished."""


def finished_in(db: Database) -> int:
    try:
        return outlook(db, "small").finished
    except StudiesError:
        return 0


def run_while_it_jumps(rdsweep: Rdsweep, url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Runs the sweep of 8 trials to its end."""
    clock = rdsweep.folder / "clock"
    clock.write_text("0")
    monkeypatch.setenv("JUMPING_CLOCK", str(clock))
    monkeypatch.setenv("PYTHONPATH", str(CLOCK))
    run = rdsweep.start("run", str(rdsweep.write_spec()), "--no-report", "--storage", url)
    monkeypatch.undo()
    db = open_database(url)
    jumps = dict(JUMPS)
    while run.poll() is None:
        count = finished_in(db)
        for finished in [finished for finished in jumps if finished <= count]:  # in order
            clock.write_text(str(jumps.pop(finished)))
    said, _ = run.communicate()
    assert run.returncode == 0, said
    assert jumps == {}
    check_finished(db, "small", 8)
    check_rows(db, "small")
    return db


def measured(db: Database) -> list[TrialRecord]:
    """The trials without what depends on when and by whom they were trained."""
    return [
        replace(
            trial,
            uuid="",
            seconds=0.0,
            attempt=0,
            worker=None,
            created_at=0.0,
            started_at=None,
            finished_at=None,
        )
        for trial in query_trials(db, "small")
    ]


def test_on_sqlite_nothing_is_lost_and_every_number_is_the_same(
    rdsweep: Rdsweep, finished: Rdsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = run_while_it_jumps(rdsweep, rdsweep.url, monkeypatch)
    assert measured(db) == measured(open_database(finished.url))


@pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing())
def test_on_a_server_no_worker_loses_a_lease(
    rdsweep: Rdsweep, finished: Rdsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the server's clock counts."""
    with postgres_server.empty_database() as url:
        db = run_while_it_jumps(rdsweep, url, monkeypatch)
        try:
            assert measured(db) == measured(open_database(finished.url))
            attempts = attempts_of(db, "small", range(8))
            outcomes = [[attempt.outcome for attempt in attempts[n]] for n in range(8)]
            assert outcomes == [["complete"]] * 8
        finally:
            db.close()
