"""Whether a PostgreSQL server is set up for a sweep: version, connections, durability, clock."""

import time
from collections.abc import Iterator

from sqlalchemy import select, text

from studies.clock import now
from studies.database import Database
from sweeps.durations import in_words
from sweeps.findings import Finding, all_fine, note, problem

__all__ = ["check_postgresql"]

_LEAST_RELEASE = 12
_PER_WORKER = 2  # one for its trial, one for its heartbeat at the same moment
_SPARE = 5  # the desk's, the launcher's, a command's
_LARGEST_OFFSET_SECONDS = 1.0


def check_postgresql(db: Database) -> Iterator[Finding]:
    """Yields what is to be said of the server of a PostgreSQL database."""
    settings = _settings(db)
    yield from _release(int(settings["server_version_num"]), settings["server_version"])
    yield from _connections(db, settings)
    yield from _durability(settings)
    yield from _clock(db)


def _settings(db: Database) -> dict[str, str]:
    names = (
        "server_version",
        "server_version_num",
        "max_connections",
        "superuser_reserved_connections",
        "fsync",
        "full_page_writes",
        "synchronous_commit",
    )
    with db.read() as connection:
        rows = connection.execute(
            text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"),
            {"names": list(names)},
        )
        return {row.name: row.setting for row in rows}


def _release(number: int, release: str) -> Iterator[Finding]:
    if number < _LEAST_RELEASE * 10_000:
        yield problem(
            "server",
            f"PostgreSQL must be {_LEAST_RELEASE} or newer, but it is {release}",
            "update the server",
        )
    else:
        yield all_fine("server", f"PostgreSQL {release}")


def _connections(db: Database, settings: dict[str, str]) -> Iterator[Finding]:
    most = int(settings["max_connections"]) - int(settings["superuser_reserved_connections"])
    workers, others = _users(db)
    needed = _PER_WORKER * workers + _SPARE + others
    text_ = (
        f"it takes {most} connections; {workers} workers need up to {_PER_WORKER * workers}, "
        f"other programs hold {others}"
    )
    if needed > most:
        yield problem(
            "connections",
            text_,
            f"raise max_connections to {2 * needed} in postgresql.conf and restart the server, or "
            "run fewer workers",
        )
    else:
        yield all_fine("connections", text_)


def _users(db: Database) -> tuple[int, int]:
    """How many workers have not ended, of all studies, and how many connections are not ours."""
    from studies.errors import StudiesError
    from studies.workers import list_workers

    with db.read() as connection:
        others = connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                "AND application_name <> 'rdsweep'"
            )
        )
    try:
        return len(list_workers(db, ended=False)), int(others or 0)
    except StudiesError:  # no tables, or older ones: `check_tables` says so
        return 0, int(others or 0)


def _durability(settings: dict[str, str]) -> Iterator[Finding]:
    lost = [name for name in ("fsync", "full_page_writes") if settings[name] == "off"]
    if lost:
        yield note(
            "durability",
            f"{' and '.join(lost)} {'is' if len(lost) == 1 else 'are'} off: a power cut can damage the whole database",
            "switch that on in postgresql.conf unless the data may be lost",
        )
    elif settings["synchronous_commit"] == "off":
        yield note(
            "durability",
            "synchronous_commit is off: a crash of the server can lose the last moment's results, "
            "which are trained again",
            "switch it on, or live with it",
        )
    else:
        yield all_fine("durability", "what is committed stays committed")


def _clock(db: Database) -> Iterator[Finding]:
    with db.read() as connection:
        before = time.time()
        there = connection.scalar(select(now()))
        after = time.time()
    offset = (there or 0.0) - (before + after) / 2
    if abs(offset) <= _LARGEST_OFFSET_SECONDS + (after - before):
        yield all_fine("clock", "this machine's clock agrees with the database's")
        return
    way = "behind" if offset > 0 else "ahead of"
    yield note(
        "clock",
        f"this machine's clock is {in_words(abs(offset))} {way} the database's; no harm, since "
        "leases go by the database's alone",
        "set it (NTP), so that logs agree",
    )
