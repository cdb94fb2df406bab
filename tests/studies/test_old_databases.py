"""Databases of earlier versions: brought up to date without the loss of a row, or not at all."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from old_databases import Rows, dumped_versions, restore, rows_of
from queue_processes import die_while_migrating, in_processes, make_tables
from studies.database import Database, check_schema, prepare_schema, schema_version
from studies.errors import SchemaError, StorageError
from studies.launchers import register_launcher, touch_launcher
from studies.leases import take_trial
from studies.orders import order_stop
from studies.outcomes import finish_trial, store_epoch
from studies.queries import artifacts_of, epochs_of, latents_of, query_trials
from studies.queue import add_trials, counts, mark_told, untold_trials
from studies.records import Lease
from studies.sqlite import rebuilding
from studies.study_records import get_study
from studies.tables import SCHEMA_VERSION
from studies.workers import list_workers, touch_worker
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, epoch_record, new_trial

OLD_VERSIONS = [version for version in dumped_versions() if version < SCHEMA_VERSION]

RENAMED = {"artifacts_url": "artifacts_dir"}
"""New names of columns, and what they were called before."""

FILLED: dict[str, dict[str, dict[str, object]]] = {
    "0001": {
        "rdsweep_studies": {"exhausted": False},
        "rdsweep_trials": {"regulariser": "kl", "prior": "standard", "posterior": "diagonal"},
    },
    "0002": {"rdsweep_studies": {"exhausted": False}},
}
"""What the new columns of each version hold in old rows; all others are null."""


@pytest.fixture(params=OLD_VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The version of the tables in `old`."""
    return str(request.param)


@pytest.fixture
def old(fresh_url: str, version: str) -> Iterator[Database]:
    """A database of an earlier version with rows in every table."""
    database = restore(fresh_url, version)
    assert all(rows_of(database).values())
    yield database
    database.close()


@pytest.fixture
def old_file(tmp_path: Path) -> Iterator[Database]:
    """An SQLite file of version 0001, whose table of trials has to be made anew."""
    database = restore(f"sqlite:///{tmp_path / 'sweeps.db'}", "0001")
    yield database
    database.close()


def known_before(rows: Rows, before: Rows) -> Rows:
    """Returns the rows with those columns only that there were before, under their old names."""
    return {
        name: [
            {column: row[column] for column in before[name][0]}
            for row in map(_under_old_names, rows[name])
        ]
        for name in before
    }


def _under_old_names(row: dict[str, object]) -> dict[str, object]:
    return row | {old: row[new] for new, old in RENAMED.items() if new in row}


def added(rows: Rows, before: Rows, table: str) -> list[dict[str, object]]:
    """Returns what the rows of a table hold in the columns that are new."""
    old_columns = before[table][0].keys()
    return [
        {name: row[name] for name in row.keys() - old_columns - RENAMED.keys()}
        for row in rows[table]
    ]


def execute(database: Database, *statements: str) -> None:
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def numbers(database: Database, state: str) -> list[int]:
    """Returns the numbers of the trials in a state, by an old database's own columns."""
    return [row["number"] for row in rows_of(database)["rdsweep_trials"] if row["state"] == state]


def take(database: Database) -> Lease:
    lease = take_trial(database, STUDY.name, "bert", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    return lease


def test_every_row_of_every_table_stays_as_it_was(old: Database, version: str) -> None:
    """Also of those that refer to trials, whose table SQLite has to make anew."""
    before = rows_of(old)
    prepare_schema(old)
    after = rows_of(old)
    assert known_before(after, before) == before
    for table in before:
        for row in added(after, before, table):
            filled = {name: value for name, value in row.items() if value is not None}
            assert filled == FILLED[version].get(table, {})


def test_old_trials_are_read_with_what_they_must_have_been(old: Database) -> None:
    prepare_schema(old)
    complete, *_ = query_trials(old, STUDY.name, where="regulariser = 'kl' and beta < 1")
    assert (complete.prior, complete.posterior) == ("standard", "diagonal")
    assert complete.rate_nats == 10.5
    (epoch,) = epochs_of(old, STUDY.name)[0]
    assert epoch.rate_nats == 1.0
    assert [latent.kl_nats for latent in latents_of(old, STUDY.name)[0]] == [0.0, 1.5, 3.0, 4.5]
    assert artifacts_of(old, STUDY.name, "reconstructions")[0] == ARTIFACT


@pytest.mark.parametrize("version", ["0001"], indirect=True)
def test_what_the_first_version_did_not_measure_is_missing(old: Database) -> None:
    prepare_schema(old)
    complete, *_ = query_trials(old, STUDY.name)
    assert (complete.weights, complete.equivalence, complete.reused_from) == (None, None, None)
    assert (complete.notes, complete.collapse, complete.iwae_nats) == ((), None, None)
    assert epochs_of(old, STUDY.name)[0][0].active_units is None
    assert [latent.kl_q90_nats for latent in latents_of(old, STUDY.name)[0]] == [None] * 4


def test_a_study_goes_on_where_it_stood(old: Database) -> None:
    """What was being trained is taken over first, then comes what was queued, then what is new."""
    prepare_schema(old)
    (running,), (queued,) = numbers(old, "running"), numbers(old, "queued")
    complete = len(numbers(old, "complete"))
    new = queued + 1
    add_trials(old, STUDY.name, [new_trial(new, beta=None, raw_weight=None, beta_norm=None)])
    with old.write() as connection:
        connection.execute(
            text("UPDATE rdsweep_trials SET lease_until = 0 WHERE state = 'running'")
        )
    leases = [take(old) for _ in range(3)]
    assert [(lease.number, lease.attempt) for lease in leases] == [
        (running, 2), (queued, 1), (new, 1),
    ]  # fmt: skip
    for lease in leases:
        store_epoch(old, lease, epoch_record(2))
        finish_trial(old, lease, EVALUATION, LATENTS, [ARTIFACT])
    assert counts(old, STUDY.name) == {
        "queued": 0, "running": 0, "complete": complete + 3, "diverged": 1, "failed": 1,
    }  # fmt: skip
    everything = list(range(new + 1))
    assert [trial.number for trial in untold_trials(old, STUDY.name)] == everything
    mark_told(old, STUDY.name, everything)
    assert attempts_of_epochs(old, running) == [1, 2]
    last = query_trials(old, STUDY.name, where=f"number = {new}")[0]
    assert (last.beta, last.collapse) == (None, "partial")


def test_everything_that_is_new_works_in_an_old_database(old: Database) -> None:
    """Launchers, orders to stop and notes of workers need the newest columns."""
    prepare_schema(old)
    (anna,) = list_workers(old, STUDY.name)
    assert (anna.launcher_id, anna.stop, anna.reason, anna.note) == (None, None, None, None)
    register_launcher(
        old, STUDY.name, "boss", kind="local", host="here", pid=1, process_started_at=1.0,
        workers_wanted=2,
    )  # fmt: skip
    assert touch_launcher(old, "boss") == 2
    order_stop(old, STUDY.name, "drain")
    assert touch_worker(old, anna.id, "the disk is full") == "drain"
    assert list_workers(old, STUDY.name)[0].note == "the disk is full"


def attempts_of_epochs(database: Database, number: int) -> list[int]:
    """Returns the attempt of each epoch of a trial."""
    statement = (
        "SELECT e.attempt FROM rdsweep_epochs e JOIN rdsweep_trials t ON t.id = e.trial_id "
        "WHERE t.number = :number ORDER BY e.epoch"
    )
    with database.read() as connection:
        return list(connection.scalars(text(statement), {"number": number}))


def test_deleting_a_study_still_deletes_all_that_belongs_to_it(old: Database) -> None:
    """The foreign keys are in force again, in the very connection that migrated."""
    prepare_schema(old)
    with old.write() as connection:
        connection.execute(text("DELETE FROM rdsweep_studies"))
    assert not any(rows_of(old).values())


def test_migrating_again_changes_nothing(old: Database) -> None:
    prepare_schema(old)
    before = rows_of(old)
    prepare_schema(old)
    assert rows_of(old) == before


def test_processes_that_migrate_at_once_all_succeed(old: Database) -> None:
    before = rows_of(old)
    assert in_processes(make_tables, [(old.url,)] * 4) == ["made"] * 4
    check_schema(old)
    assert known_before(rows_of(old), before) == before


def test_a_migration_that_fails_in_its_last_step_leaves_the_old_database_whole(
    old: Database, version: str
) -> None:
    """The last step adds a column, which here is there already."""
    before = rows_of(old)
    execute(old, "ALTER TABLE rdsweep_workers ADD COLUMN note TEXT")
    with pytest.raises(StorageError, match=r"duplicate column name: note|note.* already exists"):
        prepare_schema(old)
    assert schema_version(old) == version
    execute(old, "ALTER TABLE rdsweep_workers DROP COLUMN note")
    assert rows_of(old) == before
    prepare_schema(old)
    assert known_before(rows_of(old), before) == before


def test_a_process_killed_in_the_middle_of_a_migration_leaves_the_old_database_whole(
    old: Database, version: str
) -> None:
    before = rows_of(old)
    process = multiprocessing.get_context("spawn").Process(
        target=die_while_migrating, args=(old.url,)
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert schema_version(old) == version
    assert rows_of(old) == before
    prepare_schema(old)
    assert known_before(rows_of(old), before) == before


def test_an_old_database_is_not_read_before_it_is_brought_up_to_date(
    old: Database, version: str
) -> None:
    message = f"have the older version {version}; `rdsweep run` brings them up to date"
    with pytest.raises(SchemaError, match=message):
        check_schema(old)


# --- SQLite's table that is made anew -------------------------------------------------------------


def test_a_deleted_trials_key_is_not_used_again_after_the_migration(old_file: Database) -> None:
    execute(old_file, "DELETE FROM rdsweep_trials WHERE id = 5")
    prepare_schema(old_file)
    add_trials(old_file, STUDY.name, [new_trial(7)])
    assert rows_of(old_file)["rdsweep_trials"][-1]["id"] == 6


def test_what_users_have_put_beside_our_tables_stays(old_file: Database) -> None:
    execute(
        old_file,
        "CREATE VIEW good AS SELECT number, beta FROM rdsweep_trials WHERE rate_nats > 1",
        "CREATE INDEX mine ON rdsweep_trials (family)",
        "CREATE TABLE notes (trial INTEGER REFERENCES rdsweep_trials (id) ON DELETE CASCADE)",
        "INSERT INTO notes VALUES (1)",
    )
    prepare_schema(old_file)
    with old_file.read() as connection:
        assert connection.execute(text("SELECT * FROM good")).all() == [(0, 0.5)]
        assert connection.execute(text("SELECT trial FROM notes")).all() == [(1,)]
        names = {index["name"] for index in inspect(connection).get_indexes("rdsweep_trials")}
    assert "mine" in names


def test_rows_that_had_lost_their_trial_before_do_not_stop_a_migration(
    old_file: Database,
) -> None:
    """Somebody has deleted a trial by hand, where foreign keys are off unless asked for."""
    with old_file.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        driver.execute("DELETE FROM rdsweep_trials WHERE id = 1")
        driver.execute("PRAGMA foreign_keys = ON")
    prepare_schema(old_file)
    check_schema(old_file)


def test_a_table_made_anew_without_its_rows_is_refused(old_file: Database) -> None:
    before = rows_of(old_file)
    message = "Rows must keep what they belong to .* but 13 would lose it; nothing was changed"
    with (
        old_file.engine.connect() as connection,
        pytest.raises(StorageError, match=message),
        rebuilding(connection),
    ):
        connection.exec_driver_sql("DELETE FROM rdsweep_trials")
    assert rows_of(old_file) == before


def test_a_table_that_another_program_changed_is_refused_in_one_line(old_file: Database) -> None:
    execute(
        old_file,
        "ALTER TABLE rdsweep_trials RENAME COLUMN beta_norm TO normalised",
    )
    with pytest.raises(StorageError, match="beta_norm must be declared NOT NULL in the SQL of"):
        prepare_schema(old_file)
    assert schema_version(old_file) == "0001"


def test_a_restored_study_is_the_one_that_was_dumped(old: Database) -> None:
    prepare_schema(old)
    assert get_study(old, STUDY.name).spectrum == STUDY.spectrum
