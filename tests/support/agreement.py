"""What must be true of a study whatever happened to its workers: nothing lost, nothing twice."""

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import MetaData, select

from studies.database import Database
from studies.queries import query_trials
from studies.queue import outlook
from studies.records import TrialRecord
from studies.study_records import get_study
from sweeps.optuna_store import load_optuna_study, open_optuna_storage
from sweeps.space import Space, fingerprint
from sweeps.spec import Spec
from vae_models.config import TrialConfig

Rows = dict[str, Counter[tuple[Any, ...]]]


def all_rows(db: Database, *without: str) -> Rows:
    """Every row of every table, Optuna's as well, in no order; some tables left out."""
    tables = MetaData()
    tables.reflect(db.engine)
    with db.read() as connection:
        return {
            table.name: Counter(tuple(map(repr, row)) for row in connection.execute(select(table)))
            for table in tables.sorted_tables
            if table.name not in without
        }


def all_files(folder: Path) -> dict[str, str]:
    """The hash of every file below a folder, hidden ones as well."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def optuna_trials(db: Database, study: str) -> dict[int, FrozenTrial]:
    """Optuna's trials by number."""
    storage = open_optuna_storage(db.url)
    found = load_optuna_study(storage, study).get_trials(deepcopy=False)
    storage.engine.dispose()
    numbers = [trial.number for trial in found]
    assert len(set(numbers)) == len(numbers)
    return {trial.number: trial for trial in found}


def check_finished(db: Database, study: str, trials: int) -> list[TrialRecord]:
    """The trials of a study that is over; every one is there once, and Optuna knows of all."""
    records = query_trials(db, study)
    look = outlook(db, study)
    assert look.over
    assert (look.queued, look.running, look.untold) == (0, 0, 0)
    assert len(records) == trials
    assert len({record.number for record in records}) == trials
    twice = Counter(fingerprint(record.parameters) for record in records)
    assert {key: count for key, count in twice.items() if count > 1} == {}
    _check_optuna(records, optuna_trials(db, study), _space(db, study))
    return records


def _space(db: Database, study: str) -> Space:
    record = get_study(db, study)
    return Space(Spec.from_dict(record.spec), math.prod(record.data["image_shape"]))


def _check_optuna(
    records: list[TrialRecord], theirs: dict[int, FrozenTrial], space: Space
) -> None:
    known = {record.number: record for record in records}
    rejected = [trial for number, trial in theirs.items() if number not in known]
    assert {trial.state for trial in rejected} <= {TrialState.FAIL}
    for number, record in known.items():
        other = theirs[number]
        assert other.state is _state(record), (number, record.state, other.state)
        assert other.params == space.encode(record.parameters), number
        if record.state == "complete":
            assert other.values == [record.rate_nats, record.distortion_se], number
        if record.state == "diverged":
            assert other.values == [math.inf, math.inf], number


def _state(record: TrialRecord) -> TrialState:
    return TrialState.FAIL if record.state == "failed" else TrialState.COMPLETE


def check_rows(db: Database, study: str) -> None:
    """Every complete trial has one evaluation, all its latents, and each of its epochs once."""
    from studies.queries import artifacts_of, epochs_of, latents_of

    epochs, latents = epochs_of(db, study), latents_of(db, study)
    models = artifacts_of(db, study, "checkpoint")
    for record in query_trials(db, study, where="state = 'complete'"):
        config = TrialConfig.from_dict(record.config)
        number = record.number
        assert None not in (record.rate_nats, record.distortion_se, record.distortion_nll_nats)
        wanted = list(range(1, config.train.epochs + 1))
        assert [epoch.epoch for epoch in epochs[number]] == wanted, number
        found = [latent.latent for latent in latents[number]]
        assert found == list(range(config.model.latent_dim)), number
        assert models[number].path is not None
