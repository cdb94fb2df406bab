"""Sweeps on a real PostgreSQL: passwords stay where they belong, and an outage is sat out."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from sqlalchemy import URL, make_url

from postgres_server import PrivateServer, empty_database, missing, server_url
from rdsweep_command import PATIENCE_SECONDS, Rdsweep
from studies.database import open_database
from studies.errors import StudiesError
from studies.queries import query_trials
from studies.records import TrialRecord
from studies.workers import list_workers

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

Wait = Callable[[Callable[[], object]], None]
PASSWORD = "Sesam-9aQ%zT"
"""As it is typed; in a URL the percent sign is escaped."""


@contextmanager
def role_with_password() -> Iterator[str]:
    """Yields the name of a role that needs the password where the server asks for one."""
    import psycopg

    name = f"sweeper_{uuid4().hex}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    try:
        yield name
    finally:
        with psycopg.connect(server_url(), autocommit=True) as connection:
            connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def secret_url() -> Iterator[URL]:
    """An empty database, reached with a password."""
    with role_with_password() as name, empty_database() as url:
        yield make_url(url).set(username=name, password=PASSWORD)


def leaks_in(text: str) -> list[str]:
    """The lines with the password, as it is or as it stands in a URL."""
    return [line for line in text.splitlines() if re.search("Sesam|9aQ", line)]


def dump(url: str) -> str:
    """Every row of every table."""
    import psycopg

    with psycopg.connect(url) as connection:
        named = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return "\n".join(
            row
            for (table,) in named
            for (row,) in connection.execute(f"SELECT row_to_json(t)::text FROM {table} AS t")
        )


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def training(url: str) -> list[TrialRecord]:
    db = open_database(url)
    try:
        return query_trials(db, "small", where="state = 'running' and epoch >= 1")
    except StudiesError:  # not made yet
        return []
    finally:
        db.close()


def lines_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """What the process writes up to the line with that text."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            break
    return lines


def rest_of(process: subprocess.Popen[str]) -> str:
    """What it writes until its end, after some lines were read."""
    assert process.stdout is not None
    return process.stdout.read()


def test_a_password_stands_in_no_output_log_file_command_line_or_table(
    rdsweep: Rdsweep, secret_url: URL, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives it on the command line shows it himself; nothing of ours repeats it."""
    url = secret_url.render_as_string(hide_password=False)
    options = ("run", str(rdsweep.write_spec(epochs=20)), "--set")
    process = rdsweep.start(*options, "study.trials=500", "--storage", url)
    eventually(lambda: training(url))
    children = psutil.Process(process.pid).children(recursive=True)
    shown = [" ".join(child.cmdline()) for child in children]
    assert any("worker small" in line for line in shown)
    status = rdsweep("status", "--json", "--storage", url).stdout
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert ":***@" in said
    monkeypatch.setenv("RDSWEEP_STORAGE", url)
    commands = (*options, "study.trials=2"), ("status",), ("query", "small", "--columns", "all")
    outputs = [rdsweep(*command) for command in commands]
    printed = [
        said,
        status,
        *shown,
        *(text for one in outputs for text in (one.stdout, one.stderr)),
    ]
    assert leaks_in("\n".join(printed)) == []
    stored = dump(url.replace("+psycopg", ""))
    assert "rdsweep" in stored
    assert leaks_in(stored) == []
    files = files_of(rdsweep.folder)
    assert any("report.html" in name for name in files)
    assert [name for name, content in files.items() if b"9aQ" in content] == []


WRONG = {
    "in the spec": (("--set", "study.storage={url}"), "must hold no password"),
    "of nobody": (("--storage", "{nobody}"), "nobody"),
    "in a broken URL": (("--storage", "{broken}"), "--storage: must be"),
    "for a launcher that is not there": (("--storage", "{url}", "--launcher", "rya"), "'ray'?"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_a_password_stands_in_no_message(
    rdsweep: Rdsweep, secret_url: URL, options: tuple[str, ...], message: str
) -> None:
    url = secret_url.render_as_string(hide_password=False)
    urls = {
        "url": url,
        "nobody": secret_url.set(username="nobody").render_as_string(hide_password=False),
        "broken": url.replace("postgresql", "postgers"),
    }
    words = [option.format(**urls) for option in options]
    said = rdsweep("run", str(rdsweep.write_spec()), *words, status=2).stderr
    assert message in said
    assert leaks_in(said) == []
    assert len(said.splitlines()) == 1


class TestManual:
    """`--launcher manual`: the run says how to start workers, and they are started by hand."""

    def test_it_watches_the_workers_that_come_and_reports_at_the_end(
        self, rdsweep: Rdsweep, secret_url: URL, eventually: Wait, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = secret_url.render_as_string(hide_password=False)
        monkeypatch.setenv("RDSWEEP_STORAGE", url)
        spec = rdsweep.write_spec()
        watching = ("run", str(spec), "--launcher", "manual", "--workers", "1")
        process = rdsweep.start(*watching, "--set", "study.trials=2")
        lines = lines_until(process, "rdsweep worker")
        assert ":***@" in lines[-2]
        rdsweep(*shlex.split(lines[-1])[1:])
        said = rest_of(process)
        assert process.wait() == 0, said
        assert "study small: 2 complete" in said
        assert leaks_in("".join(lines) + said) == []

    def test_detached_it_leaves_after_it_said_how(self, rdsweep: Rdsweep, secret_url: URL) -> None:
        url = secret_url.render_as_string(hide_password=False)
        spec = rdsweep.write_spec()
        done = rdsweep(
            "run",
            str(spec),
            "--launcher",
            "manual",
            "--workers",
            "3",
            "--detach",
            "--storage",
            url,
        )
        assert "start 3 workers, each with this command" in done.stdout
        hints = done.stdout.splitlines()[-3:]
        assert [line.split()[:4] for line in hints] == [
            [f"{what}:", "rdsweep", verb, "small"]
            for what, verb in (("watch", "status"), ("stop", "stop"), ("report", "report"))
        ]
        assert "every machine must see the artifacts' directory" in done.stderr
        assert leaks_in(done.stdout + done.stderr) == []


def test_an_outage_of_the_database_is_sat_out_and_a_death_meanwhile_is_written_down_after_it(
    rdsweep: Rdsweep, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PrivateServer() as server:
        monkeypatch.setenv("RDSWEEP_STORAGE", server.url)
        spec = rdsweep.write_spec(epochs=150)
        process = rdsweep.start(
            "run",
            str(spec),
            "--no-report",
            "--set",
            "study.trials=3",
            "--set",
            "run.lease_seconds=600",
        )
        eventually(lambda: len(training(server.url)) == 2)
        db = open_database(server.url)
        victim, other = training(server.url)
        (worker,) = (w for w in list_workers(db, "small") if w.id == victim.worker)
        db.close()
        server.stop("immediate")
        os.kill(worker.pid, signal.SIGKILL)
        lines_until(process, "database: ")
        server.start()
        said = rest_of(process)
        assert process.wait() == 0, said
        assert "database: it answers again" in said
        assert f"killed by SIGKILL; trial {victim.number} goes on elsewhere" in said
        db = open_database(server.url)
        trials = {trial.number: trial for trial in query_trials(db, "small")}
        db.close()
        assert {trial.state for trial in trials.values()} == {"complete"}
        assert trials[victim.number].attempt == 2
        assert trials[other.number].attempt == 1
