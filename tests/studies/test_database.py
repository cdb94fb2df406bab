"""Opening a database, its transactions, and one clear line for each way in which it can fail."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event, text, update

from studies.database import Database, open_database, prepare_schema, schema_lock
from studies.errors import RecordError, StorageError
from studies.leases import take_trial
from studies.outcomes import finish_trial
from studies.queue import counts
from studies.tables import TrialRow
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, study_of


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sweeps.db", "must look like `sqlite:///FILE` or .*, but got 'sweeps.db'"),
        ("", "must look like `sqlite:///FILE`"),
        (
            "postgresql://user:secret@host:port/db",
            r"must look like .*, but got 'postgresql://user:\*\*\*@ho",
        ),
        ("mysql://host/db", "must begin with `sqlite:` or `postgresql:`, but got 'mysql://host"),
        ("sqlite://", "must name a file that all processes can open, but got 'sqlite://'"),
        ("sqlite:///:memory:", "must name a file that all processes can open"),
        ("sqlite:////no/such/place/sweeps.db", "but /no/such/place does not; make it"),
        ("sqlite:////tmp", "must name a file, but /tmp is a directory"),
    ],
)
def test_a_url_that_cannot_be_opened_is_explained_in_a_line(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        open_database(url)
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)


def test_a_file_of_another_kind_is_no_database(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("dear diary, " * 1000)
    with pytest.raises(StorageError, match="must be an SQLite database, but it is a file of ano"):
        open_database(f"sqlite:///{other}")
    assert other.read_text() == "dear diary, " * 1000


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(
        StorageError, match=r"postgresql://anna:\*\*\*@127.0.0.1:1/db must ans"
    ) as e:
        open_database("postgresql://anna:secret@127.0.0.1:1/db", patience_seconds=0.0)
    assert len(str(e.value).splitlines()) == 1


def test_a_missing_driver_is_named_with_the_command_that_installs_it() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from studies.database import open_database\n"
        "open_database('postgresql://host/db')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "StorageError: A PostgreSQL URL needs the package 'psycopg'" in ended.stderr
    assert "pip install 'rdsweep[postgres]'" in ended.stderr


def test_opening_makes_no_file(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'sweeps.db'}")
    assert list(tmp_path.iterdir()) == []
    database.close()


def test_a_relative_path_stays_valid_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = open_database("sqlite:///sweeps.db")
    assert database.url.endswith(f"sqlite:///{tmp_path}/sweeps.db".removeprefix("sqlite:///"))
    monkeypatch.chdir("/")
    prepare_schema(database)
    assert (tmp_path / "sweeps.db").exists()
    database.close()


def test_readers_go_on_while_another_process_writes(sqlite_database: Database) -> None:
    study_of(sqlite_database, 1)
    with sqlite_database.write() as connection:
        connection.execute(text("UPDATE rdsweep_trials SET told = 1"))
        assert counts(sqlite_database, STUDY.name)["queued"] == 1


def test_sqlite_writes_ahead_waits_and_keeps_foreign_keys(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'sweeps.db'}")
    prepare_schema(database)
    wanted = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 60_000}
    with database.read() as connection:
        found = {name: connection.scalar(text(f"PRAGMA {name}")) for name in wanted}
    assert found == wanted
    database.close()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    study_of(database, 1)

    def delete_and_fail() -> None:
        with database.write() as connection:
            connection.execute(text("DELETE FROM rdsweep_trials"))
            raise ZeroDivisionError("while it was open")

    with pytest.raises(ZeroDivisionError, match="while it was open"):
        delete_and_fail()
    assert counts(database, STUDY.name)["queued"] == 1


def test_a_read_sees_one_moment(database: Database) -> None:
    """A report made of many statements must not mix two states of a running sweep."""
    study_of(database, 1)
    count = text("SELECT count(*) FROM rdsweep_trials")
    with database.read() as connection:
        assert connection.scalar(count) == 1
        with database.write() as other:
            other.execute(text("DELETE FROM rdsweep_trials"))
        assert connection.scalar(count) == 1


def test_a_write_behind_a_lock_waits_and_then_says_so(sqlite_database: Database) -> None:
    study_of(sqlite_database, 1)
    assert sqlite_database.file is not None
    other = sqlite3.connect(sqlite_database.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another process keeps it locked; end that process"):
        take_trial(sqlite_database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)
    other.execute("COMMIT")
    other.close()
    assert take_trial(sqlite_database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)


def test_a_full_disk_is_one_line_and_loses_only_the_write(sqlite_database: Database) -> None:
    study_of(sqlite_database, 1)
    lease = take_trial(sqlite_database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    large = ARTIFACT.__class__(
        kind="samples", media_type="x", content=bytes(10**6), path=None, sha256="0", size=10**6
    )

    def allow(pages: int) -> None:
        sqlite_database.close()
        event.listen(
            sqlite_database.engine,
            "connect",
            lambda driver, _: driver.execute(f"PRAGMA max_page_count = {pages}"),
        )

    allow(1)  # SQLite takes the present size as the least possible
    with pytest.raises(StorageError, match="must have free space, but it is full"):
        finish_trial(sqlite_database, lease, EVALUATION, LATENTS, [large])
    assert counts(sqlite_database, STUDY.name)["running"] == 1
    allow(10**6)
    finish_trial(sqlite_database, lease, EVALUATION, LATENTS, [large])
    assert counts(sqlite_database, STUDY.name)["complete"] == 1


def test_a_database_that_may_only_be_read_can_be_read(sqlite_database: Database) -> None:
    study_of(sqlite_database, 1)
    database = open_database(f"sqlite:///file:{sqlite_database.file}?mode=ro&uri=true")
    assert counts(database, STUDY.name)["queued"] == 1
    with pytest.raises(StorageError, match="must be writable, but it is read-only"):
        take_trial(database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)
    database.close()


def test_a_damaged_file_is_called_damaged(sqlite_database: Database) -> None:
    study_of(sqlite_database, 50)
    sqlite_database.close()
    assert sqlite_database.file is not None
    with sqlite_database.file.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (sqlite_database.file.stat().st_size - 4096))
    with pytest.raises(StorageError, match="must be a sound SQLite database, but it is damaged"):
        counts(sqlite_database, STUDY.name)


def test_the_lock_beside_the_file_needs_a_writable_directory(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'sweeps.db'}")
    (tmp_path / "sweeps.db.lock").mkdir()
    message = "must be writable, but the lock beside it cannot be made"
    with pytest.raises(StorageError, match=message), schema_lock(database):
        pass
    database.close()


def test_a_column_refuses_what_a_record_let_through(database: Database) -> None:
    study_of(database, 1)
    with (
        pytest.raises(RecordError, match=r"`isfinite\(value\)` must hold for a column"),
        database.write() as connection,
    ):
        connection.execute(update(TrialRow).values(rate_nats=float("inf")))


def test_importing_the_database_loads_neither_alembic_nor_optuna_nor_torch() -> None:
    program = (
        "import sys, studies.queue, studies.workers\n"
        "print({'alembic', 'optuna', 'torch', 'psycopg'} & sys.modules.keys())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ended.stdout.strip() == "set()"
