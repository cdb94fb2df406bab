"""Studies with everything in them, and what plain SQL says of two databases: for tests of copies.

Rows are read with sqlite3 and psycopg alone, by names and numbers instead of keys, so that what
copies and what checks have no code in common.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

import postgres_server
from studies.copying import Errand, Route, StudyCopy, copy_study
from studies.database import Database, open_database, prepare_schema
from studies.launchers import register_launcher
from studies.leases import release_trial, release_worker, take_trial
from studies.orders import order_stop
from studies.outcomes import diverge_trial, fail_trial, finish_trial, store_epoch
from studies.queue import add_trials, mark_told
from studies.record_tables import RecordTables
from studies.records import ArtifactRecord, Lease
from studies.sampler_lease import acquire_sampler
from studies.workers import end_worker, register_worker
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, epoch_record, new_trial, study_of

DIRECTIONS = [
    ("sqlite", "postgresql"),
    ("postgresql", "sqlite"),
    ("sqlite", "sqlite"),
    ("postgresql", "postgresql"),
]

EXTREMES = (5e-324, 1.7976931348623157e308, 0.1 + 0.2, -1 / 3, 1e-300, 2.0**53 + 2, 123456789.0)
"""Floats that a database or its driver could round."""

ERROR = 'Traceback: "quotes", \\backslash\\, \ttab,\nβ=½ → 数 🙂'
CONTENT = bytes(range(256)) * 3

Rows = dict[str, list[dict[str, Any]]]


@contextmanager
def prepared_url(back_end: str, file: Path) -> Iterator[str]:
    """Yields the URL of a database of one kind, on a server with our tables already."""
    if back_end == "sqlite":
        yield f"sqlite:///{file}"
        return
    if reason := postgres_server.missing():
        pytest.skip(reason)
    with postgres_server.prepared_database() as url:
        yield url


@contextmanager
def empty_databases(
    back_ends: tuple[str, str], folder: Path
) -> Iterator[tuple[Database, Database]]:
    """Yields two open databases with our tables."""
    source, target = back_ends
    with (
        prepared_url(source, folder / "source.db") as here,
        prepared_url(target, folder / "target.db") as there,
    ):
        databases = open_database(here), open_database(there)
        for database in databases:
            prepare_schema(database)
        yield databases
        for database in databases:
            database.close()


def take(database: Database, worker: str = "anna", study: str = STUDY.name) -> Lease:
    lease = take_trial(database, study, worker, lease_seconds=600.0, max_attempts=3)
    assert lease is not None
    return lease


def rich_study(database: Database, name: str = STUDY.name) -> str:
    """Makes a study with trials in every state and of every history, and returns its name.

    0 complete, 1 diverged, 2 failed, 3 complete at its third attempt, 4 stopped after an epoch,
    5 running, 6 queued.
    """
    documents = {"big": 2**60 + 1, "floats": list(EXTREMES), "β": {"nested": [None, True, ""]}}
    study_of(database, 0, name=name, data={**STUDY.data, **documents})
    crew = {worker: f"{worker}-{uuid4().hex}" for worker in ("anna", "bert", "carl", "boss")}
    for worker in "anna", "bert", "carl":
        register_worker(
            database, name, crew[worker], host="here", pid=1, process_started_at=1.5,
            device="cpu", versions={"python": "3.11"}, launcher_id=crew["boss"],
        )  # fmt: skip
    register_launcher(
        database, name, crew["boss"], kind="local", host="here", pid=2, process_started_at=0.25,
        workers_wanted=3,
    )  # fmt: skip
    trials = [
        new_trial(number, parameters={"beta": value, "latent_dim": 4}, seed=2**62 + number)
        for number, value in enumerate(EXTREMES)
    ]
    add_trials(database, name, trials)
    _work(database, name, crew)
    end_worker(database, crew["anna"], "nothing left to do")
    order_stop(database, name, "drain")
    assert acquire_sampler(database, name, crew["carl"] + "/desk", 60.0)
    return name


def _work(database: Database, name: str, crew: Mapping[str, str]) -> None:
    anna, bert, carl = (crew[worker] for worker in ("anna", "bert", "carl"))
    complete, diverged, failed = (take(database, anna, name) for _ in range(3))
    for lease in complete, diverged, failed:
        store_epoch(database, lease, epoch_record(1))
    smallest, largest, sum_of_tenths, *_ = EXTREMES
    store_epoch(
        database,
        complete,
        replace(epoch_record(2), rate_nats=smallest, objective=largest, seconds=sum_of_tenths),
    )
    finish_trial(
        database,
        complete,
        replace(EVALUATION, rate_nats=sum_of_tenths, elbo_nats=-1 / 3, psnr_db=None),
        LATENTS,
        [ARTIFACT, _artifact("samples", CONTENT), _file("checkpoint")],
    )
    diverge_trial(database, diverged, "the loss is not finite in epoch 2, step 15")
    fail_trial(database, failed, ERROR)
    taken_over = take(database, bert, name)
    store_epoch(database, taken_over, epoch_record(1))
    release_worker(database, bert, "its process is gone")
    released = take(database, carl, name)
    store_epoch(database, released, epoch_record(2))
    release_trial(database, released, "Ctrl-C")
    again = take(database, carl, name)
    finish_trial(database, again, EVALUATION, LATENTS, [ARTIFACT])
    stopped = take(database, carl, name)
    store_epoch(database, stopped, epoch_record(1))
    running = take(database, carl, name)
    store_epoch(database, running, epoch_record(1))
    release_trial(database, stopped, "Ctrl-C")
    mark_told(database, name, [0, 1])


def _artifact(kind: str, content: bytes) -> ArtifactRecord:
    digest = hashlib.sha256(content).hexdigest()
    return replace(ARTIFACT, kind=kind, content=content, sha256=digest, size=len(content))


def _file(kind: str) -> ArtifactRecord:
    return replace(
        ARTIFACT, kind=kind, content=None, path="digits-beta/00000-ab/model.safetensors"
    )


# --- Copying --------------------------------------------------------------------------------------


def route(source: Database, target: Database) -> Route:
    """Returns the way for our record alone."""
    ours = (RecordTables(),)
    return Route(source=source, target=target, source_tables=ours, target_tables=ours)


def copied(
    source: Database, target: Database, study: str = STUDY.name, name: str | None = None
) -> StudyCopy:
    """Copies our record of a study."""
    return copy_study(route(source, target), Errand(study=study, name=name or study))


def die_while_copying(source: str, target: str, trials: int) -> None:
    """Copies a study in a process of its own, which is killed after so many trials."""

    def kill(done: int, _all: int) -> None:
        if done >= trials:
            os.kill(os.getpid(), signal.SIGKILL)

    errand = Errand(study=STUDY.name, name=STUDY.name)
    copy_study(route(open_database(source), open_database(target)), errand, kill)


# --- A second way to look -------------------------------------------------------------------------

_QUERIES = {
    "studies": "SELECT * FROM rdsweep_studies ORDER BY name",
    "workers": "SELECT w.*, s.name AS study FROM rdsweep_workers w "
    "JOIN rdsweep_studies s ON s.id = w.study_id ORDER BY w.id",
    "launchers": "SELECT l.*, s.name AS study FROM rdsweep_launchers l "
    "JOIN rdsweep_studies s ON s.id = l.study_id ORDER BY l.id",
    "trials": "SELECT t.*, s.name AS study FROM rdsweep_trials t "
    "JOIN rdsweep_studies s ON s.id = t.study_id ORDER BY s.name, t.number",
} | {
    table: f"SELECT p.*, t.number AS trial FROM rdsweep_{table} p JOIN rdsweep_trials t "
    f"ON t.id = p.trial_id JOIN rdsweep_studies s ON s.id = t.study_id "
    f"ORDER BY s.name, t.number, p.{key}"
    for table, key in [
        ("epochs", "epoch"), ("latents", "latent"), ("attempts", "attempt"), ("artifacts", "kind"),
    ]
}  # fmt: skip
_KEYS = {"studies": ("id",), "trials": ("id", "study_id")}
_DOCUMENTS = {"spec", "data", "spectrum", "packages", "parameters", "config", "weights", "notes",
              "versions"}  # fmt: skip


def plain_rows(database: Database, *, keys: bool = False) -> Rows:
    """Returns every row of ours, floats in hexadecimal, without the keys unless asked for."""
    rows = _sqlite_rows(database.file) if database.file else _postgresql_rows(database.url)
    for table, found in rows.items():
        for row in found:
            for key in () if keys else (*_KEYS.get(table, ()), "trial_id", "study_id"):
                row.pop(key, None)
    return {
        table: [{name: _plain(name, value) for name, value in row.items()} for row in found]
        for table, found in rows.items()
    }


def _sqlite_rows(file: Path) -> Rows:
    with sqlite3.connect(file) as driver:
        driver.row_factory = sqlite3.Row
        rows = {
            name: [dict(row) for row in driver.execute(query)] for name, query in _QUERIES.items()
        }
    driver.close()
    return rows


def _postgresql_rows(url: str) -> Rows:
    import psycopg
    from psycopg.rows import dict_row

    url = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(url, row_factory=dict_row) as driver:
        return {
            name: driver.execute(query.encode()).fetchall() for name, query in _QUERIES.items()
        }


def _plain(name: str, value: Any) -> Any:
    if name in _DOCUMENTS and isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, bool):
        return int(value)
    return value.hex() if isinstance(value, float) else value


def sql(database: Database, *statements: str) -> None:
    """Changes something behind everybody's back."""
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
