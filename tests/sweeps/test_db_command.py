"""`rdsweep db`: a server of one's own from the command line."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from postgres_server import missing
from studies.database import open_database
from studies.embedded_server import EmbeddedServer
from studies.errors import StorageError
from sweeps.db_command import db_app
from sweeps.spec_sections import storage_problem

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, in which no server is left running."""
    made = Path(tempfile.mkdtemp(prefix="rdsweep-server-"))
    monkeypatch.chdir(made)
    yield made
    server = EmbeddedServer(directory=made / "rdsweep-postgres")
    if server.home.made:
        server.stop("immediate")
    shutil.rmtree(made)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(db_app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_server_outlives_the_command_that_starts_it(folder: Path) -> None:
    """Also when the terminal of that command ends with all its processes."""
    program = "from sweeps.db_command import db_app; db_app()"
    started = subprocess.run(
        [sys.executable, "-c", program, "start"],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        timeout=120,
    )
    server = EmbeddedServer(directory=folder / "rdsweep-postgres")
    first, use, stop = started.stdout.splitlines()[0], *started.stdout.splitlines()[-2:]
    assert first.startswith("PostgreSQL ")
    assert first.endswith(" started in rdsweep-postgres")
    assert stop == "stop it: rdsweep db stop"
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid

    assert shlex.split(use)[2:] == ["export", f"RDSWEEP_STORAGE={server.url}"]
    assert said("url") == f"{server.url}\n"
    open_database(server.url).close()
    assert storage_problem(server.url) is None, "a spec may name it"

    assert " runs already in rdsweep-postgres" in said("start")
    assert said("stop") == "stopped the server in rdsweep-postgres\n"
    assert said("stop") == "none runs in rdsweep-postgres\n"
    with pytest.raises(StorageError, match=r"must run, but it does not; `rdsweep db start`"):
        said("url")


def test_a_directory_of_ones_own_is_repeated_in_the_advice(folder: Path) -> None:
    output = said("start", "--directory", "my sweeps")
    assert "stop it: rdsweep db stop --directory 'my sweeps'" in output
    assert said("stop", "--directory", "my sweeps", "--immediate").startswith("stopped")


def test_without_a_server_there_is_no_url(folder: Path) -> None:
    with pytest.raises(StorageError, match=r"but there is none; `rdsweep db start`, or name its"):
        said("url")
