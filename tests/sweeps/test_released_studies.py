"""Studies that earlier releases made and left unfinished: this one goes on with them.

Each folder under released/ is what a release's own `rdsweep run` left behind, on the spec below:
trials 0 and 1 were finished; trial 2 was stopped with Ctrl-C after its third epoch, with a
checkpoint, and gone on with by a worker that was killed after its fifth; trial 3 had not been
suggested. FILES stands for the directory of the study's files.
"""

import json
import sqlite3
from pathlib import Path

import pytest
from optuna import load_study

from rdsweep_command import Rdsweep
from studies.database import Database, open_database, schema_version
from studies.queries import artifacts_of, epochs_of, query_trials
from studies.tables import SCHEMA_VERSION

RELEASED = Path(__file__).parent / "released"
NAMES = {"0001": "first", "0002": "second"}

SPEC = """
[study]
name = "{name}"
trials = 4
sampler = "tpe"
[data]
name = "digits"
[model]
hidden = [16]
[train]
epochs = 8
batch_size = 4
[run]
workers = 1
threads = 1
lease_seconds = 30
[space]
beta = {{ low = 0.01, high = 10, log = true }}
latent_dim = {{ low = 2, high = 8 }}
annealing = ["constant", "linear"]
"""


def bring_back(version: str, folder: Path) -> None:
    """Puts the database, its files and the spec into a folder, as they were."""
    files = folder / "rdsweep.db-files"
    dump = (RELEASED / version / "rdsweep.sql").read_text().replace("FILES", str(files))
    with sqlite3.connect(folder / "rdsweep.db") as driver:
        driver.executescript(dump)
        (uuid,) = driver.execute("SELECT uuid FROM rdsweep_trials WHERE number = 2").fetchone()
    driver.close()
    place = files / NAMES[version] / f"00002-{uuid[:8]}" / "checkpoint.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes((RELEASED / version / "checkpoint.safetensors").read_bytes())
    (folder / "sweep.toml").write_text(SPEC.format(name=NAMES[version]))


def epochs_by_attempt(db: Database, name: str) -> dict[int, list[int]]:
    """Returns the epochs of trial 2 that each attempt has trained."""
    assert db.file is not None
    with sqlite3.connect(db.file) as driver:
        rows = driver.execute(
            "SELECT e.attempt, json_group_array(e.epoch) FROM rdsweep_epochs e "
            "JOIN rdsweep_trials t ON t.id = e.trial_id WHERE t.number = 2 GROUP BY e.attempt"
        ).fetchall()
    driver.close()
    return {attempt: sorted(json.loads(epochs)) for attempt, epochs in rows}


@pytest.mark.parametrize("version", NAMES)
def test_an_unfinished_study_of_an_earlier_release_is_finished(
    rdsweep: Rdsweep, version: str
) -> None:
    """The interrupted trial goes on from that release's checkpoint, under its number."""
    bring_back(version, rdsweep.folder)
    db, name = open_database(rdsweep.url), NAMES[version]
    assert schema_version(db) == version
    assert epochs_by_attempt(db, name) == {1: [1, 2, 3], 2: [4, 5]}
    theirs = rates_before(db)

    rdsweep("run", "sweep.toml", "--no-report")
    assert schema_version(db) == SCHEMA_VERSION
    trials = query_trials(db, name)
    assert [(trial.number, trial.state, trial.attempt) for trial in trials] == [
        (0, "complete", 1), (1, "complete", 1), (2, "complete", 3), (3, "complete", 1),
    ]  # fmt: skip
    assert epochs_by_attempt(db, name) == {1: [1, 2, 3], 3: [4, 5, 6, 7, 8]}
    ours = [epoch.rate_nats for epoch in epochs_of(db, name)[2]]
    assert ours[:5] == pytest.approx(theirs, rel=1e-3)
    assert all(trial.told for trial in trials)
    assert told_to_optuna(rdsweep.url, name) == [
        [trial.rate_nats, trial.distortion_se] for trial in trials
    ]
    model = artifacts_of(db, name, "checkpoint", [2])[2]
    assert model.path is not None
    assert (rdsweep.folder / "rdsweep.db-files" / model.path).is_file()
    db.close()


def rates_before(db: Database) -> list[float]:
    """Returns the rates of trial 2's epochs as that release's two attempts measured them."""
    assert db.file is not None
    with sqlite3.connect(db.file) as driver:
        rows = driver.execute(
            "SELECT e.rate_nats FROM rdsweep_epochs e JOIN rdsweep_trials t ON t.id = e.trial_id "
            "WHERE t.number = 2 ORDER BY e.epoch"
        ).fetchall()
    driver.close()
    return [rate for (rate,) in rows]


def told_to_optuna(url: str, name: str) -> list[list[float]]:
    return [trial.values for trial in load_study(study_name=name, storage=url).get_trials()]


@pytest.mark.parametrize("version", NAMES)
def test_status_of_an_earlier_releases_database_says_what_to_do(
    rdsweep: Rdsweep, version: str
) -> None:
    """Reading changes nothing: only `run` brings the tables up to date."""
    bring_back(version, rdsweep.folder)
    said = rdsweep("status", NAMES[version], status=2).stderr
    assert f"the older version {version}; `rdsweep run` brings them up to date" in said
    db = open_database(rdsweep.url)
    assert schema_version(db) == version
    db.close()
