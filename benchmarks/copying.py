"""How long `rdsweep db copy` takes, and how much memory, from SQLite to PostgreSQL and back.

    python benchmarks/copying.py --trials 100000 --epochs 10

It makes a study of so many trials, with Optuna's, and copies it with the real command: to a
PostgreSQL server of its own, once more (when nothing is new), and to a second SQLite file.
"""

import argparse
import datetime as dt
import random
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
from sqlalchemy import MetaData, Table, insert

from studies.database import Database, prepare_schema
from studies.embedded_server import EmbeddedServer
from studies.record_tables import RecordTables
from studies.study_records import study_id_of
from studies.tables import ArtifactRow, AttemptRow, EpochRow, LatentRow, TrialRow
from sweeps.optuna_copy import make_optuna_tables
from synthetic_study import synthetic_study

LATENTS = 8
CHUNK = 2_000
PICTURE = bytes(range(256)) * 6


def main() -> None:
    """Makes the study and copies it three times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rdsweep-copying-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        source = f"sqlite:///{folder / 'source.db'}"
        fill(source, asked.trials, asked.epochs)
        size = (folder / "source.db").stat().st_size
        print(f"{asked.trials:,} trials of {asked.epochs} epochs, {size / 1e6:,.0f} MB of SQLite")
        server = EmbeddedServer(directory=folder / "server")
        try:
            url = server.start().url
            measure("SQLite to PostgreSQL", source, url)
            measure("the same again", source, url)
            measure("PostgreSQL to SQLite", url, f"sqlite:///{folder / 'target.db'}")
        finally:
            server.stop("immediate")


def measure(what: str, source: str, target: str) -> None:
    """Runs the command in a process of its own."""
    started = dt.datetime.now(dt.UTC)
    process = psutil.Popen([sys.executable, "-m", "sweeps.cli", "db", "copy", source, target])
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
            process.wait(0.1)
        except psutil.Error:
            continue
    if process.returncode != 0:
        message = f"{what} must succeed, but the copy ended with status {process.returncode}"
        raise SystemExit(message)
    seconds = (dt.datetime.now(dt.UTC) - started).total_seconds()
    print(f"{what}: {seconds:.0f} s, at most {peak / 1e6:.0f} MB", flush=True)


def fill(url: str, trials: int, epochs: int) -> None:
    """Makes a study of finished trials, without the way through the queue."""
    database = synthetic_study(url, trials=1)
    prepare_schema(database)
    make_optuna_tables(database)
    rng = random.Random(0)
    for first in range(1, trials, CHUNK):
        _add(database, rng, range(first, min(first + CHUNK, trials)), epochs)
    _remember(database, trials)
    database.close()


def _add(database: Database, rng: random.Random, numbers: range, epochs: int) -> None:
    """Adds trials that are like the first one, with numbers of their own."""
    tables = RecordTables()
    with database.write() as connection:
        study = study_id_of(connection, "synthetic")
        index = tables.index(connection, study)
        first = index.keys[0]
        trial = dict(
            connection.execute(TrialRow.__table__.select().where(TrialRow.id == first))
            .mappings()
            .one()
        )
        rows = [
            trial
            | {
                "id": first + number,
                "number": number,
                "uuid": str(uuid.UUID(int=rng.getrandbits(128))),
            }
            | {"rate_nats": rng.expovariate(0.1), "beta": rng.random()}
            for number in numbers
        ]
        connection.execute(insert(TrialRow), rows)
        for kind, parts in _parts(rng, first, numbers, epochs):
            connection.execute(insert(kind), parts)


def _parts(
    rng: random.Random, first: int, numbers: range, epochs: int
) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    keys = [first + number for number in numbers]
    names = [c.name for c in _table(EpochRow).columns if c.name not in ("trial_id", "epoch")]
    yield (
        _table(EpochRow),
        [
            {"trial_id": key, "epoch": epoch}
            | {name: rng.random() for name in names}
            | {"attempt": 1, "step": 78 * epoch, "active_units": 3}
            for key in keys
            for epoch in range(1, epochs + 1)
        ],
    )
    yield (
        _table(LatentRow),
        [
            {"trial_id": key, "latent": j, "kl_nats": rng.random()}
            | {"mean_variance": rng.random(), "active": True}
            for key in keys
            for j in range(LATENTS)
        ],
    )
    yield (
        _table(AttemptRow),
        [
            {"trial_id": key, "attempt": 1, "worker": "worker", "started_at": rng.random()}
            | {"ended_at": 1e9, "seconds": rng.random(), "outcome": "complete"}
            for key in keys
        ],
    )
    yield (
        _table(ArtifactRow),
        [
            {"trial_id": key, "kind": "samples", "media_type": "application/x-npy"}
            | {"content": PICTURE, "sha256": "0" * 64, "size": len(PICTURE), "created_at": 1e9}
            for key in keys
        ],
    )


def _table(row: type) -> Table:
    table: Table = cast("Any", row).__table__
    return table


def _remember(database: Database, trials: int) -> None:
    """Makes Optuna's study of the same trials."""
    found = MetaData()
    with database.write() as connection:
        found.reflect(connection)
        study = connection.execute(
            insert(found.tables["studies"]).values(study_name="synthetic")
        ).inserted_primary_key
        start = dt.datetime(2026, 1, 1)  # noqa: DTZ001  (Optuna's are naive)
        for first in range(0, trials, CHUNK):
            numbers = range(first, min(first + CHUNK, trials))
            for name, rows in _optuna_rows(numbers, cast("Any", study)[0], start):
                connection.execute(insert(found.tables[name]), rows)


def _optuna_rows(
    numbers: range, study: int, start: dt.datetime
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    second = dt.timedelta(seconds=1)
    yield (
        "trials",
        [
            {"trial_id": n + 1, "number": n, "study_id": study, "state": "COMPLETE"}
            | {"datetime_start": start + n * second, "datetime_complete": start + n * second}
            for n in numbers
        ],
    )
    yield (
        "trial_params",
        [
            {"trial_id": n + 1, "param_name": name, "param_value": n / 7}
            | {"distribution_json": '{"name": "FloatDistribution", "attributes": {}}'}
            for n in numbers
            for name in ("beta", "latent_dim", "reduction")
        ],
    )
    yield (
        "trial_values",
        [
            {"trial_id": n + 1, "objective": j, "value": n / 3 + j, "value_type": "FINITE"}
            for n in numbers
            for j in (0, 1)
        ],
    )
    yield (
        "trial_system_attributes",
        [{"trial_id": n + 1, "key": "constraints", "value_json": "[0.0]"} for n in numbers],
    )


if __name__ == "__main__":
    main()
