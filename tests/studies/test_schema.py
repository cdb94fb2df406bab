"""Our tables beside Optuna's, made once, and brought up to date from every released version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from sqlalchemy import inspect, text

from queue_processes import in_processes, make_tables
from studies import migrations
from studies.database import (
    Database,
    check_schema,
    open_database,
    prepare_schema,
    schema_lock,
    schema_version,
)
from studies.errors import SchemaError, StorageError
from studies.leases import take_trial
from studies.migrations.runner import is_ours
from studies.outcomes import finish_trial, store_epoch
from studies.queue import counts
from studies.study_records import get_study
from studies.tables import PREFIX, SCHEMA_VERSION, VERSION_TABLE, Base
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, epoch_record, study_of

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture
def optuna_storage(database: Database) -> Iterator[RDBStorage]:
    """Optuna's tables in the same database."""
    storage = RDBStorage(database.url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def differences(database: Database) -> list[Any]:
    """Returns what Alembic's autogenerate would change."""
    options = {"include_object": is_ours, "version_table": VERSION_TABLE, "compare_type": True}
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, Base.metadata))


def definitions(file: Path) -> set[tuple[str, str]]:
    """Returns the SQL of our tables and indexes in an SQLite file, on one line each."""
    with sqlite3.connect(file) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE ? AND sql IS NOT NULL",
            (PREFIX + "%",),
        ).fetchall()
    connection.close()
    return {(name, " ".join(sql.split())) for name, sql in rows}


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    assert tables(database) == {*Base.metadata.tables, VERSION_TABLE}
    assert differences(database) == []
    check_schema(database)


def test_the_newest_migration_is_the_version_that_the_code_asks_for() -> None:
    (folder,) = migrations.__path__
    assert ScriptDirectory(folder).get_current_head() == SCHEMA_VERSION


def test_every_table_is_ours_by_its_name(database: Database) -> None:
    assert all(name.startswith(PREFIX) for name in tables(database))


@pytest.mark.usefixtures("optuna_storage")
def test_autogenerate_sees_nothing_of_optunas_tables(database: Database) -> None:
    assert {"studies", "trials", "alembic_version"} <= tables(database)
    assert differences(database) == []


def test_optuna_and_rdsweep_live_in_one_database(
    database: Database, optuna_storage: RDBStorage
) -> None:
    study_of(database, 1)
    optuna_study = optuna.create_study(storage=optuna_storage, study_name=STUDY.name)
    optuna_study.optimize(lambda trial: trial.suggest_float("beta", 0.0, 1.0), n_trials=3)

    optuna.delete_study(study_name=STUDY.name, storage=optuna_storage)
    assert optuna.get_all_study_names(optuna_storage) == []
    assert get_study(database, STUDY.name).name == STUDY.name
    assert counts(database, STUDY.name)["queued"] == 1
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM trials")) == 0


def test_no_foreign_key_leaves_our_tables(database: Database) -> None:
    """With one, Optuna's `delete_study` would return normally and delete nothing."""
    with database.read() as connection:
        inspector = inspect(connection)
        targets = {
            key["referred_table"]
            for name in Base.metadata.tables
            for key in inspector.get_foreign_keys(name)
        }
    assert targets == {"rdsweep_studies", "rdsweep_trials"}


def test_our_keys_are_never_used_twice(sqlite_database: Database) -> None:
    """SQLite gives a deleted row's key to the next one, unless the table says otherwise."""
    for _ in range(2):
        study_of(sqlite_database, 1)
        with sqlite_database.write() as connection:
            keys = connection.scalars(text("SELECT id FROM rdsweep_trials")).all()
            connection.execute(text("DELETE FROM rdsweep_studies"))
    assert keys == [2]


def test_deleting_a_study_deletes_all_that_belongs_to_it(database: Database) -> None:
    study_of(database, 1)
    lease = take_trial(database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    store_epoch(database, lease, epoch_record(1))
    finish_trial(database, lease, EVALUATION, LATENTS, [ARTIFACT])
    with database.write() as connection:
        connection.execute(text("DELETE FROM rdsweep_studies"))
        for name in Base.metadata.tables:
            assert connection.scalar(text(f"SELECT count(*) FROM {name}")) == 0


def test_making_the_tables_again_keeps_what_is_in_them(database: Database) -> None:
    study_of(database, 1)
    prepare_schema(database)
    assert counts(database, STUDY.name)["queued"] == 1


def test_processes_that_make_a_fresh_database_at_once_all_succeed(fresh_url: str) -> None:
    assert in_processes(make_tables, [(fresh_url,)] * 4) == ["made"] * 4
    database = open_database(fresh_url)
    check_schema(database)
    assert {"studies", "trials"} <= tables(database)
    database.close()


def test_a_thread_may_nest_the_schema_lock(database: Database) -> None:
    with schema_lock(database), schema_lock(database):
        prepare_schema(database)


def test_a_migration_that_fails_halfway_leaves_nothing_behind(fresh_url: str) -> None:
    database = open_database(fresh_url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE rdsweep_epochs (mine INTEGER)"))
    with pytest.raises(StorageError, match=r"rdsweep_epochs.* already exists"):
        prepare_schema(database)
    assert tables(database) == {"rdsweep_epochs"}

    with database.write() as connection:
        connection.execute(text("DROP TABLE rdsweep_epochs"))
    prepare_schema(database)
    check_schema(database)
    database.close()


def test_a_database_without_our_tables_says_how_to_make_them(fresh_url: str) -> None:
    database = open_database(fresh_url)
    with pytest.raises(SchemaError, match=r"no rdsweep tables; run a sweep there first"):
        check_schema(database)
    if database.file is not None:
        assert not database.file.exists()
    with pytest.raises((SchemaError, StorageError), match="no rdsweep tables"):
        get_study(database, "any")
    database.close()


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0000", f"must have version {SCHEMA_VERSION}, but they have the older version 0000"),
        ("9999", "but they have version 9999, which a newer rdsweep wrote; update rdsweep"),
    ],
)
def test_tables_of_another_version_are_not_read(
    database: Database, version: str, message: str
) -> None:
    with database.write() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))
    with pytest.raises(SchemaError, match=message):
        check_schema(database)


def test_tables_of_a_newer_rdsweep_are_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="which a newer rdsweep wrote"):
        prepare_schema(database)
    assert schema_version(database) == "9999"


@pytest.mark.parametrize("dump", sorted(SCHEMAS.glob("*.sql")), ids=lambda dump: dump.stem)
def test_a_released_schema_migrates_to_the_newest(dump: Path, tmp_path: Path) -> None:
    """Each dump holds a study with trials in every state, as that version wrote it."""
    old = sqlite3.connect(tmp_path / "old.db")
    old.executescript(dump.read_text())
    old.close()
    database = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    assert schema_version(database) == dump.stem
    prepare_schema(database)
    check_schema(database)

    fresh = open_database(f"sqlite:///{tmp_path / 'fresh.db'}")
    prepare_schema(fresh)
    assert definitions(tmp_path / "old.db") == definitions(tmp_path / "fresh.db")
    assert differences(database) == []
    assert get_study(database, STUDY.name).spectrum == STUDY.spectrum
    assert all(counts(database, STUDY.name).values())
    database.close()
    fresh.close()


def test_every_released_schema_is_kept() -> None:
    (folder,) = migrations.__path__
    versions = {script.revision for script in ScriptDirectory(folder).walk_revisions()}
    assert {dump.stem for dump in SCHEMAS.glob("*.sql")} == versions


def test_units_are_written_beside_the_columns() -> None:
    for table in Base.metadata.tables.values():
        for column in table.columns:
            if column.name.endswith(("_nats", "_at", "_until", "seconds", "_se", "_stderr")):
                assert column.comment, f"{table.name}.{column.name} needs a comment with its unit"


def test_what_was_in_force_in_an_epoch_is_its_mean_over_the_steps() -> None:
    """Within an epoch annealing and learning rate move; its end would tell another story."""
    columns = Base.metadata.tables["rdsweep_epochs"].columns
    for name in "annealing_weight", "nll_weight", "rate_weight", "learning_rate":
        assert "mean over the epoch's steps" in (columns[name].comment or "")
    assert not columns["nll_weight"].nullable
    assert not columns["rate_weight"].nullable


def test_the_server_keeps_the_comments(database: Database) -> None:
    if database.file is not None:
        pytest.skip("SQLite has no comments on columns")
    with database.read() as connection:
        columns = inspect(connection).get_columns("rdsweep_trials")
    comments = {column["name"]: column["comment"] for column in columns}
    assert comments["rate_nats"] == "nats per example"
