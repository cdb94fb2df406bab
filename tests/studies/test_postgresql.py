"""How rdsweep talks to a PostgreSQL server, and what it makes of its errors."""

from __future__ import annotations

import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url, text

from postgres_server import empty_database, missing, prepared_database, server_url
from studies.database import Database, open_database, prepare_schema, schema_lock
from studies.errors import SchemaError, StorageError, StudiesError, TransientStorageError
from studies.leases import extend_lease, take_trial
from studies.postgresql import postgresql_connect_args
from studies.queue import counts
from studies.study_records import list_studies
from study_examples import STUDY, study_of
from tls_proxy import Authority, TlsProxy

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def server_database(postgresql_url: str) -> Iterator[Database]:
    """An open database on a real PostgreSQL, with our tables and no patience."""
    opened = open_database(postgresql_url, patience_seconds=0.0)
    yield opened
    opened.close()


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = open_database(url, patience_seconds=0.0)
    try:
        yield database
    finally:
        database.close()


def changed(url: str, **parameters: str) -> str:
    return make_url(url).update_query_dict(parameters).render_as_string(hide_password=False)


def setting(database: Database, name: str) -> str:
    with database.write() as connection:
        return str(connection.scalar(text(f"SHOW {name}")))


@pytest.fixture
def role(postgresql_url: str) -> Iterator[Callable[[str], str]]:
    """Makes a role of the test's database, and returns the URL by which it comes."""
    name, password = f"role_{uuid4().hex}", "s3cr3t"

    def make(rights: str) -> str:
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
            connection.execute(rights.format(role=name))
        url = make_url(postgresql_url).difference_update_query(["passfile"])
        return url.set(username=name, password=password).render_as_string(hide_password=False)

    yield make
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


# Connections


def test_the_session_is_set_so_that_neither_side_waits_for_ever(
    server_database: Database,
) -> None:
    assert setting(server_database, "application_name") == "rdsweep"
    assert setting(server_database, "idle_in_transaction_session_timeout") == "30s"
    assert setting(server_database, "lock_timeout") == "1min"
    assert setting(server_database, "tcp_keepalives_idle") == "30"
    with server_database.read() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        parameters = driver.info.get_parameters()
    assert parameters["connect_timeout"] == "10"
    assert parameters["keepalives_idle"] == "30"
    assert parameters["tcp_user_timeout"] == "60000"


def test_what_the_url_says_itself_holds(postgresql_url: str) -> None:
    url = changed(
        postgresql_url,
        application_name="mine",
        options="-c lock_timeout=7s -c search_path=public",
    )
    with opened(url) as database:
        assert setting(database, "application_name") == "mine"
        assert setting(database, "lock_timeout") == "7s"
        assert setting(database, "search_path") == "public"
        assert setting(database, "idle_in_transaction_session_timeout") == "30s"


def test_tls_parameters_are_left_to_the_url() -> None:
    url = make_url("postgresql://host/db?sslmode=verify-full&sslrootcert=/ca.crt")
    assert {"sslmode", "sslrootcert"}.isdisjoint(postgresql_connect_args(url))


def test_one_connection_stays_and_none_is_in_a_transaction(server_database: Database) -> None:
    """So a server with 300 connections serves that many workers, and none keeps a row locked."""
    study_of(server_database, 8)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: counts(server_database, STUDY.name), range(30)))
    statement = (
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'rdsweep'"
    )
    with psycopg.connect(
        make_url(server_database.url)
        .set(drivername="postgresql")
        .render_as_string(hide_password=False)
    ) as connection:
        assert connection.execute(statement).fetchall() == [("idle",)]


def test_reads_see_one_moment_and_writes_see_what_is_there(server_database: Database) -> None:
    with server_database.read() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "repeatable read"
        assert connection.scalar(text("SHOW transaction_read_only")) == "on"
    with server_database.write() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert connection.scalar(text("SHOW transaction_read_only")) == "off"


SUSPENDED = """
import sys
from sqlalchemy import text
from studies.database import open_database
from studies.errors import TransientStorageError
database = open_database(sys.argv[1])
try:
    with database.write() as connection:
        connection.execute(text("UPDATE rdsweep_trials SET error = 'mine'"))
        print("locked", flush=True)
        sys.stdin.readline()
except TransientStorageError as error:
    print(error, flush=True)
"""


def test_a_process_suspended_in_a_transaction_keeps_no_row_locked(postgresql_url: str) -> None:
    """The server ends its session; when it wakes up, nothing of the transaction is left."""
    impatient = changed(postgresql_url, options="-c idle_in_transaction_session_timeout=300ms")
    with opened(postgresql_url) as database:
        study_of(database, 1)
        lease = take_trial(database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)
        assert lease is not None
        with subprocess.Popen(
            [sys.executable, "-c", SUSPENDED, impatient],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            process.send_signal(signal.SIGSTOP)
            extend_lease(database, lease, 60.0)  # waits for the row
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate("go on\n", timeout=60)
        assert "terminating connection due to idle-in-transaction timeout" in said
        with database.read() as connection:
            assert connection.scalars(text("SELECT error FROM rdsweep_trials")).all() == [None]


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom the server's certificate is signed by."""
    return Authority(tmp_path, "authority")


def test_a_certificate_is_verified_if_the_url_says_so(
    postgresql_url: str, authority: Authority
) -> None:
    context = authority.server_context("127.0.0.1")
    with TlsProxy(postgresql_url, context, "127.0.0.1") as proxy:
        trusting = {"sslmode": "verify-full", "sslrootcert": str(authority.certificate)}
        with opened(changed(proxy.url, **trusting)) as database:
            assert list_studies(database) == []
        assert proxy.secured == 1


def test_a_certificate_of_somebody_else_is_refused(
    postgresql_url: str, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    context = authority.server_context("127.0.0.1")
    with TlsProxy(postgresql_url, context, "127.0.0.1") as proxy:
        trusting = {"sslmode": "verify-full", "sslrootcert": str(other.certificate)}
        refused(changed(proxy.url, **trusting), r"certificate verify failed; check sslmode, sslro")
        assert proxy.secured == 0


def test_a_certificate_for_another_host_is_refused(
    postgresql_url: str, authority: Authority
) -> None:
    context = authority.server_context("127.0.0.2")
    with TlsProxy(postgresql_url, context, "127.0.0.1") as proxy:
        trusting = {"sslmode": "verify-full", "sslrootcert": str(authority.certificate)}
        refused(changed(proxy.url, **trusting), r"server certificate for .*does not match host n")


def test_a_server_without_tls_is_refused_if_the_url_asks_for_it(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        if connection.execute("SHOW ssl").fetchone() == ("on",):
            pytest.skip("the server has TLS")
    refused(changed(postgresql_url, sslmode="require"), "does not support SSL, but SSL was requir")


# Refusals


def refused(url: str, message: str) -> str:
    """Opens what must be refused at once, in one line without the password."""
    with pytest.raises(StorageError, match=message) as caught, opened(url):
        pass
    assert not isinstance(caught.value, TransientStorageError)
    (line,) = str(caught.value).splitlines()
    told = "".join(traceback.format_exception(caught.value))
    assert not {"s3cr3t", "wr0ng"} & set(told.replace("'", " ").replace(":", " ").split())
    return line


def with_password(url: str, password: str | None, **changes: str) -> str:
    bare = make_url(url).difference_update_query(["passfile"])
    named = bare.set(password=password, **changes)  # type: ignore[arg-type]
    return named.render_as_string(hide_password=False)


def test_a_wrong_password_is_no_outage(postgresql_url: str) -> None:
    refused(
        with_password(postgresql_url, "wr0ng"),
        r"must let this user in, but it refused: password authentication failed for user "
        r".*; check user and password",
    )


def test_a_missing_password_is_no_outage(postgresql_url: str) -> None:
    refused(with_password(postgresql_url, None), "no password supplied; check user and password")


def test_a_user_that_does_not_exist_is_no_outage(postgresql_url: str) -> None:
    refused(with_password(postgresql_url, "wr0ng", username="nobody"), "check user and password")


def test_a_database_that_does_not_exist_is_no_outage(postgresql_url: str) -> None:
    url = make_url(postgresql_url).set(database="rdsweep_of_nobody")
    refused(
        url.render_as_string(hide_password=False),
        r"/rdsweep_of_nobody must exist, but database \"rdsweep_of_nobody\" does not exist; make",
    )


def test_a_parameter_that_does_not_exist_is_no_outage(postgresql_url: str) -> None:
    refused(changed(postgresql_url, ssl_mode="require"), 'invalid .*"ssl_mode"')
    refused(changed(postgresql_url, sslmode="always"), 'invalid sslmode value: "always"')
    refused(
        changed(postgresql_url, options="-c lock_time=1s"),
        r"must have parameters that PostgreSQL knows, but unrecognized .* \"lock_time\"",
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "no-such-host.invalid"], ids=["nobody listens", "no such name"]
)
def test_a_server_that_cannot_be_reached_may_come_back(host: str) -> None:
    with (
        pytest.raises(TransientStorageError, match="must answer, but the connection failed") as e,
        opened(f"postgresql://anna:s3cr3t@{host}/db"),
    ):
        pass
    assert str(e.value).startswith(f"postgresql://anna:***@{host}/db must answer")
    assert len(str(e.value).splitlines()) == 1
    assert "s3cr3t" not in "".join(traceback.format_exception(e.value))


def test_a_role_for_reports_reads_and_cannot_write(
    role: Callable[[str], str], postgresql_url: str
) -> None:
    with opened(postgresql_url) as database:
        study_of(database, 1)
    with opened(role("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")) as reader:
        assert counts(reader, STUDY.name)["queued"] == 1
        with pytest.raises(StorageError, match="the right to do this, but permission denied for"):
            take_trial(reader, STUDY.name, "anna", lease_seconds=60.0, max_attempts=3)


def test_a_server_whose_connections_are_all_in_use_is_waited_for(
    role: Callable[[str], str],
) -> None:
    url = role("ALTER ROLE {role} CONNECTION LIMIT 1")
    with (
        opened(url),
        pytest.raises(TransientStorageError, match="must have a connection to spare, but too man"),
        opened(url),
    ):
        pass


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        ("08006", True),  # connection failure
        ("25P03", True),  # idle in a transaction for too long
        ("40001", True),  # serialisation failure
        ("40P01", True),  # deadlock
        ("53100", True),  # disk full
        ("53200", True),  # out of memory
        ("53300", True),  # too many connections
        ("55P03", True),  # no lock in time
        ("57P01", True),  # shutting down
        ("57P02", True),  # crashed
        ("57P03", True),  # starting
        ("22012", False),  # division by zero
        ("25006", False),  # read only
        ("3D000", False),  # no such database
        ("28P01", False),  # wrong password
        ("42501", False),  # no right
        ("42703", False),  # no such column
        ("57014", False),  # cancelled
        ("57P04", False),  # the database was dropped
        ("XX001", False),  # damaged
    ],
)
def test_a_fault_passes_or_not(state: str, passes: bool, server_database: Database) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'as a test' USING ERRCODE = '{state}'; END $$"
    with (
        pytest.raises(StorageError, match=r"as a test|it is read-only") as caught,
        server_database.write() as connection,
    ):
        connection.execute(text(raising))
    assert isinstance(caught.value, TransientStorageError) == passes
    assert len(str(caught.value).splitlines()) == 1


def test_a_lock_that_is_not_to_be_had_in_time_is_asked_for_again(postgresql_url: str) -> None:
    with (
        opened(postgresql_url) as holder,
        opened(changed(postgresql_url, options="-c lock_timeout=50ms")) as database,
        holder.write() as holding,
    ):
        holding.execute(text("LOCK TABLE rdsweep_trials"))
        with (
            pytest.raises(TransientStorageError, match="must give a lock in time, but another"),
            database.write() as connection,
        ):
            connection.execute(text("DELETE FROM rdsweep_trials"))


def test_a_connection_that_the_server_dropped_is_made_again(server_database: Database) -> None:
    study_of(server_database, 1)
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [make_url(server_database.url).database],
        )
    assert counts(server_database, STUDY.name)["queued"] == 1


def test_a_table_that_is_missing_is_told_from_a_role_of_our_name() -> None:
    with empty_database() as url, opened(url) as database:
        with pytest.raises(SchemaError, match="no rdsweep tables; run a sweep there first"):
            list_studies(database)
        with (
            pytest.raises(StudiesError, match=r'role "rdsweep_reader" does not exist') as caught,
            database.write() as connection,
        ):
            connection.execute(text("GRANT ALL ON SCHEMA public TO rdsweep_reader"))
    assert not isinstance(caught.value, SchemaError)


def test_the_schema_lock_outlives_the_timeouts_of_a_session(postgresql_url: str) -> None:
    """Whoever migrates holds a transaction open that does nothing; others wait longer for it."""
    options = "-c idle_in_transaction_session_timeout=1s -c lock_timeout=1s"
    impatient = changed(postgresql_url, options=options)
    with (
        opened(impatient) as database,
        opened(impatient) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        with schema_lock(database):
            waiting = pool.submit(prepare_schema, other)
            with psycopg.connect(postgresql_url) as connection:
                connection.execute("SELECT pg_sleep(2.5)")
            assert not waiting.done()
        waiting.result(timeout=60)


def test_a_prepared_copy_has_the_tables() -> None:
    with prepared_database() as url, opened(url) as database:
        assert list_studies(database) == []
