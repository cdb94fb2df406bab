"""Studies for the tests of reports: made by hand, or stored through the database's own writes."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reports.dossier import Dossier
from studies.database import Database, open_database, prepare_schema
from studies.leases import take_trial
from studies.outcomes import diverge_trial, fail_trial, finish_trial, store_epoch
from studies.queue import add_trials
from studies.records import (
    ArtifactRecord,
    EpochRecord,
    EvaluationRecord,
    LatentRecord,
    NewTrial,
    StudyRecord,
    TrialRecord,
)
from studies.study_records import create_study

SPECTRUM = (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05)

STUDY = StudyRecord(
    name="digits-beta",
    spec={},
    spec_hash="0",
    distortion="se",
    trials_wanted=16,
    sampler="tpe",
    data={
        "name": "digits",
        "checksum": "0123456789abcdef" * 4,
        "train_size": 1498,
        "heldout_size": 299,
        "image_shape": [1, 8, 8],
        "binarisation": "none",
    },
    spectrum=SPECTRUM,
    rate_reference_nats=20.0,
    distortion_reference=14.0,
    artifacts_url="",
    code_version="0.1.0",
    packages={"optuna": "5.0.0", "torch": "2.15.0"},
)


def _trial(
    number: int, rate: float | None, distortion: float | None, **changes: Any
) -> TrialRecord:
    beta = float(changes.get("beta") or 2.0 ** (5 - number % 11))
    latents = int(changes.get("latent_dim", 8))
    measured = rate is not None
    nll = None if distortion is None else 3.0 * distortion
    elbo = None if rate is None or nll is None else -(nll + rate)
    trial = TrialRecord(
        number=number,
        parameters={"beta": beta},
        config={
            "model": {"family": "mlp", "hidden": [512], "latent_dim": latents, "sigma2": 0.1},
            "objective": {"beta": beta, "reduction": "sum", "warmup": None},
            "train": {"epochs": 5, "learning_rate": 1e-3, "seed": number},
        },
        beta=beta,
        raw_weight=beta,
        beta_norm=beta * latents / 64,
        level=None,
        latent_dim=latents,
        reduction=("sum", "mean", "pixel_mean")[number % 3],
        annealing="linear",
        likelihood="bernoulli",
        family="mlp",
        sigma2=None,
        learning_rate=1e-3,
        batch_size=128,
        epochs=5,
        seed=number,
        study=STUDY.name,
        uuid=f"uuid-{number}",
        state="complete" if measured else "running",
        rate_nats=rate,
        rate_stderr_nats=0.05 if measured else None,
        distortion_se=distortion,
        distortion_se_stderr=0.02 if measured else None,
        distortion_nll_nats=nll,
        distortion_nll_stderr_nats=0.06 if measured else None,
        elbo_nats=elbo,
        mse=None if distortion is None else distortion / 64,
        psnr_db=12.0 if measured else None,
        bits_per_dim=None,
        active_units=3 if measured else None,
        active_threshold=0.01 if measured else None,
        collapsed=False if measured else None,
        sigma2_learned=None,
        seconds=2.5,
        epoch=5,
        attempt=1,
        error=None,
        worker=None,
        told=True,
        created_at=0.0,
        started_at=1.0,
        finished_at=100.0 + number if measured else None,
    )
    return replace(trial, **changes)


def _epochs(trial: TrialRecord, numbers: Sequence[int]) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(
            epoch=epoch,
            step=10 * epoch,
            rate_nats=(trial.rate_nats or 0.0) * (1 - 0.5**epoch),
            distortion_se=(trial.distortion_se or 0.0) + 8.0 * 0.5**epoch,
            distortion_nll_nats=(trial.distortion_nll_nats or 0.0) + 24.0 * 0.5**epoch,
            objective=1.0,
            annealing_weight=min(1.0, epoch / 3),
            nll_weight=1.0,
            rate_weight=min(1.0, epoch / 3) * (trial.beta or 0.0),
            seconds=0.5,
        )
        for epoch in numbers
    )


def _latents(trial: TrialRecord) -> tuple[LatentRecord, ...]:
    shares = [0.0, 0.5, 0.0, 0.3, 0.0, 0.2, 0.0, 0.0]
    return tuple(
        LatentRecord(
            latent=index,
            kl_nats=share * (trial.rate_nats or 0.0),
            mean_variance=0.9 if share else 1e-4,
            active=share > 0,
        )
        for index, share in enumerate(shares)
    )


def _pictures(array: NDArray[Any], kind: str = "reconstructions") -> ArtifactRecord:
    buffer = io.BytesIO()
    np.save(buffer, array)
    content = buffer.getvalue()
    return ArtifactRecord(
        kind=kind,
        media_type="application/x-npy",
        content=content,
        path=None,
        sha256="0" * 64,
        size=len(content),
    )


def _dossier(trials: Sequence[TrialRecord], **changes: Any) -> Dossier:
    return Dossier(
        study=replace(STUDY, **changes),
        trials=tuple(trials),
        epochs={t.number: _epochs(t, range(1, 6)) for t in trials if t.state == "complete"},
        latents={t.number: _latents(t) for t in trials if t.state == "complete"},
        reconstructions={},
        samples={},
    )


def _curve(count: int = 12) -> list[TrialRecord]:
    """Trials on a convex curve, each third one behind it, and one of every bad end."""
    trials = []
    for number in range(count):
        rate = 0.1 + 1.5 * number
        distortion = 13.0 * math.exp(-rate / 6) + (1.0 if number % 3 == 2 else 0.0)
        trials.append(_trial(number, rate, distortion))
    trials[0] = replace(trials[0], collapsed=True, active_units=0)
    for state in ("diverged", "failed", "queued"):
        number = len(trials)
        error = {"diverged": "epoch 2, step 31: the objective is nan", "failed": _TRACEBACK}
        trials.append(_trial(number, None, None, state=state, error=error.get(state)))
    return trials


_TRACEBACK = (
    'Traceback (most recent call last):\n  File "x.py", line 3\nRuntimeError: out of memory'
)


@pytest.fixture
def make_trial() -> Callable[..., TrialRecord]:
    """Returns ``make_trial(number, rate, distortion, **changes)``."""
    return _trial


@pytest.fixture
def make_dossier() -> Callable[..., Dossier]:
    """Returns ``make_dossier(trials, **changes of the study)``."""
    return _dossier


@pytest.fixture
def make_pictures() -> Callable[[NDArray[Any]], ArtifactRecord]:
    """Returns a maker of artifacts from arrays."""
    return _pictures


@pytest.fixture
def curve() -> list[TrialRecord]:
    """Twelve complete trials of which nine are on the front, and three without a result."""
    return _curve()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Callable[..., Database]]:
    """Returns ``store(trials, images=…, **changes of the study)``: a new, filled database."""
    opened: list[Database] = []

    def _store(trials: Sequence[TrialRecord], *, images: bool = True, **changes: Any) -> Database:
        database = open_database(f"sqlite:///{tmp_path}/study-{len(opened)}.db")
        opened.append(database)
        prepare_schema(database)
        study = create_study(database, replace(STUDY, **changes))
        names = [field.name for field in fields(NewTrial)]
        new = [NewTrial(**{name: getattr(trial, name) for name in names}) for trial in trials]
        add_trials(database, study.name, new)
        for trial in trials:
            if trial.state != "queued":
                _play(database, study.name, trial, images=images)
        return database

    yield _store
    for database in opened:
        database.engine.dispose()


def _play(database: Database, study: str, trial: TrialRecord, *, images: bool) -> None:
    """Does to the database what a worker would have done."""
    lease = take_trial(database, study, "worker", lease_seconds=600, max_attempts=3)
    assert lease is not None
    assert lease.number == trial.number
    for epoch in _epochs(trial, range(1, 4)):
        store_epoch(database, lease, epoch)
    if trial.state == "complete":
        names = [field.name for field in fields(EvaluationRecord)]
        evaluation = EvaluationRecord(**{name: getattr(trial, name) for name in names})
        picture = np.random.default_rng(trial.number).random((2, 6, 1, 8, 8)).astype(np.float16)
        drawn = (picture[1] * 255).astype(np.uint8)
        artifacts = [_pictures(picture), _pictures(drawn, "samples")] if images else []
        if images:
            moved = np.random.default_rng(trial.number).integers(0, 256, (3, 9, 1, 8, 8))
            artifacts += [
                _pictures(moved.astype(np.uint8), "traversals"),
                _pictures(np.array([1, 3, 5]), "traversal_latents"),
            ]
        finish_trial(database, lease, evaluation, _latents(trial), artifacts)
    elif trial.state == "diverged":
        diverge_trial(database, lease, trial.error or "")
    elif trial.state == "failed":
        fail_trial(database, lease, trial.error or "")
