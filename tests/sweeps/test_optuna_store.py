"""Optuna's side of a study in our database."""

import warnings
from pathlib import Path

import optuna
import pytest
from sqlalchemy import text

from optuna_memory import optuna_study
from studies.database import open_database, prepare_schema
from sweeps.errors import SuggestionError
from sweeps.optuna_store import create_optuna_study, open_optuna_storage
from sweeps.samplers import quiet_optuna
from toy_sweeps import BETA, ToySweep, spec_of


def test_making_the_study_twice_is_making_it_once(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path, {"beta": BETA})
    create_optuna_study(sweep.db, sweep.db.url, sweep.spec)
    study = optuna_study(sweep.db.url, "toy")
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MINIMIZE"]


def test_a_study_that_others_made_is_refused(tmp_path: Path) -> None:
    db = open_database(f"sqlite:///{tmp_path / 'toy.db'}")
    prepare_schema(db)
    storage = open_optuna_storage(db.url, make_tables=True)
    foreign = optuna.create_study(storage=storage, study_name="toy")
    foreign.tell(foreign.ask(), 1.0)
    with pytest.raises(SuggestionError, match="'toy' must have been made by rdsweep"):
        create_optuna_study(db, db.url, spec_of({}))
    with pytest.raises(SuggestionError, match="'toy' must have been made by rdsweep"):
        optuna_study(db.url, "toy")


def test_a_study_without_its_optuna_study_is_told(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path, {"beta": BETA})
    with pytest.raises(SuggestionError, match="'gone' must have an Optuna study beside it"):
        optuna_study(sweep.db.url, "gone")


def test_sqlite_connections_wait_and_do_not_sync_every_write(tmp_path: Path) -> None:
    sweep = ToySweep.create(tmp_path, {"beta": BETA})
    with open_optuna_storage(sweep.db.url).engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 1  # NORMAL
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 60_000


def test_quiet_optuna_keeps_other_warnings(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.warns(UserWarning, match="something else"), quiet_optuna():
        warnings.warn("something else", UserWarning, stacklevel=1)
