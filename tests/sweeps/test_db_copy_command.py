"""`rdsweep db copy`: what it prints, what it refuses in one line, and that no password is shown."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

import postgres_server
from copied_studies import plain_rows, prepared_url
from optuna_memory import optuna_study
from rdsweep_command import Rdsweep
from studies.database import open_database
from studies.queries import query_trials
from studies.workers import register_worker
from toy_sweeps import BETA, ToySweep, trade_off

SECRET = "hunter2-not-shown"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a database on a real PostgreSQL."""
    with prepared_url("postgresql", tmp_path / "unused.db") as url:
        yield url


@pytest.fixture
def toy(tmp_path: Path) -> ToySweep:
    """A sweep of four finished trials."""
    sweep = ToySweep.create(tmp_path / "toy", {"beta": BETA}, trials=4)
    sweep.drive(trade_off)
    return sweep


def refusal(rdsweep: Rdsweep, *arguments: str) -> str:
    """Returns the one line that a copy is refused with."""
    done = rdsweep("db", "copy", *arguments, status=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("rdsweep: ")
    assert done.stdout == ""
    return line


def test_a_finished_sweep_reads_the_same_from_its_copy(
    finished: Rdsweep, rdsweep: Rdsweep, server: str
) -> None:
    """Copied to PostgreSQL and home again, every command that reads says the same of all three."""
    home = f"sqlite:///{rdsweep.folder / 'home.db'}"
    rdsweep("db", "copy", finished.url, server)
    rdsweep("db", "copy", server, home)
    for words in ("query", "small", "--format", "jsonl"), ("front", "small", "--format", "csv"):
        said = {finished(*words, "--storage", url).stdout for url in (finished.url, server, home)}
        assert len(said) == 1
    databases = [open_database(url) for url in (finished.url, home)]
    one, other = (plain_rows(database)["artifacts"] for database in databases)
    assert one == other
    for database in databases:
        database.close()


def test_a_sweep_goes_on_in_its_copy(finished: Rdsweep, rdsweep: Rdsweep, server: str) -> None:
    """More trials, suggested by the same sampler and told to the same Optuna study."""
    rdsweep("db", "copy", finished.url, server)
    spec = str(rdsweep.write_spec())
    rdsweep("run", spec, "--no-report", "--storage", server, "--set", "study.trials=9")
    database = open_database(server)
    trials = query_trials(database, "small")
    assert [trial.number for trial in trials] == list(range(9))
    assert {trial.state for trial in trials} == {"complete"}
    told = optuna_study(database.url, "small").get_trials()
    assert [trial.values for trial in told] == [
        [trial.rate_nats, trial.distortion_se] for trial in trials
    ]
    database.close()


def test_the_table_says_what_was_done(rdsweep: Rdsweep, toy: ToySweep, server: str) -> None:
    first = rdsweep("db", "copy", toy.db.url, server).stdout.splitlines()
    assert first[0].split() == ["study", "trials", "epochs", "artifacts", "checksum"]
    name, trials, epochs, artifacts, ok, checksum, what = first[1].split()
    assert (name, trials, epochs, artifacts, ok, what) == ("toy", "4", "0", "0", "ok", "new")
    assert first[2].startswith("note: the files of toy stay in ")
    second = rdsweep("db", "copy", toy.db.url, server).stdout.splitlines()
    assert second[1].split()[-2:] == [checksum, "unchanged"]


def test_json_is_for_programs(rdsweep: Rdsweep, toy: ToySweep) -> None:
    target = f"sqlite:///{rdsweep.folder / 'copy.db'}"
    said = rdsweep("db", "copy", toy.db.url, target, "--rename", "toy=game", "--json").stdout
    document = json.loads(said)
    (study,) = document["studies"]
    assert (study["study"], study["name"], study["trials"]) == ("toy", "game", 4)
    assert (study["is_new"], study["suggestions"], len(study["checksum"])) == (True, 4, 64)
    assert document["to"] == str(rdsweep.folder / "copy.db")


def test_a_study_that_somebody_works_on_is_not_copied(rdsweep: Rdsweep, toy: ToySweep) -> None:
    """The worker is this very process, so it is alive."""
    process = psutil.Process()
    register_worker(
        toy.db, "toy", "me", host=socket.gethostname(), pid=os.getpid(),
        process_started_at=process.create_time(), device="cpu", versions={},
    )  # fmt: skip
    target = rdsweep.folder / "copy.db"
    line = refusal(rdsweep, toy.db.url, f"sqlite:///{target}")
    assert "but 1 worker is at work on 'toy' in" in line
    assert "rdsweep stop toy --wait" in line
    assert not target.exists()


def test_mistakes_are_told_before_anything_is_written(rdsweep: Rdsweep, toy: ToySweep) -> None:
    target = rdsweep.folder / "copy.db"
    source, copy = toy.db.url, f"sqlite:///{target}"
    missing = f"sqlite:///{rdsweep.folder / 'missing.db'}"
    mistakes = {
        (missing, copy): "must exist, but there is no file",
        (source, source): "both URLs name the same",
        (source, "copy.db"): "A storage URL must look like",
        (source, copy, "--study", "toys"): "got 'toys'; did you mean 'toy'?",
        (source, copy, "--rename", "toys=game"): "--rename must be OLD=NEW",
        (source, copy, "--rename", "toy=a/b"): "must be fit for a file name",
        (source, copy, "--rename", "toy="): "must neither be empty",
    }
    for arguments, message in mistakes.items():
        assert message in refusal(rdsweep, *arguments)
        assert not target.exists()


def test_a_link_to_the_source_is_the_source(rdsweep: Rdsweep, toy: ToySweep) -> None:
    assert toy.db.file is not None
    link = rdsweep.folder / "link.db"
    link.symlink_to(toy.db.file)
    assert "both URLs name the same" in refusal(rdsweep, toy.db.url, f"sqlite:///{link}")


@pytest.mark.skipif(bool(postgres_server.missing()), reason="needs PostgreSQL")
def test_no_password_is_shown(rdsweep: Rdsweep, toy: ToySweep, server: str) -> None:
    """Neither of a server that refuses it, nor of a URL that is none."""
    wrong = make_url(server).set(password=SECRET, username="nobody-here")
    for url in (wrong.render_as_string(hide_password=False), f"postgres//me:{SECRET}@host"):
        for arguments in (url, toy.db.url), (toy.db.url, url):
            assert SECRET not in refusal(rdsweep, *arguments)
