"""An attempt stores all that was measured of its trial: metrics, diagnostics, latents, pictures."""

import hashlib
import io
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from attempts import EVALUATION, Scene, trial_config
from studies.diagnostics import Diagnostics as Stored
from studies.queries import artifacts_of, epochs_of, latents_of
from study_examples import STUDY
from vae_models.checkpoints import read_checkpoint, restore_model
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.diagnostics import Diagnostics as Measured
from vae_models.diagnostics import diagnose
from vae_models.evaluation import evaluate
from vae_models.evaluation_config import EvaluationConfig


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _ran(
    folder: Path, data: DataSet, *, evaluation: EvaluationConfig = EVALUATION, **sections: Any
) -> Scene:
    """One trial of a fresh study, from its queue to its end."""
    scene = Scene.of(folder, data, trial_config(**{"epochs": 2, **sections}))
    scene.attempt(evaluation=evaluation).run()
    return scene


def _array(scene: Scene, kind: str) -> NDArray[Any]:
    content = artifacts_of(scene.db, STUDY.name, kind)[0].content
    assert content is not None
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def test_what_is_measured_has_the_names_of_what_is_stored() -> None:
    measured, stored = ({field.name for field in fields(k)} for k in (Measured, Stored))
    assert measured == stored


def test_what_is_stored_is_what_the_stored_model_gives(tmp_path: Path, digits: DataSet) -> None:
    scene = _ran(tmp_path, digits, model={"likelihood": "bernoulli"})
    db, trial = scene.db, scene.trial
    artifact = artifacts_of(db, STUDY.name, "checkpoint")[0]
    assert artifact.path == scene.key("model-001.safetensors")
    content = scene.store.get(artifact.path)
    assert hashlib.sha256(content).hexdigest() == artifact.sha256
    assert len(content) == artifact.size
    checkpoint = read_checkpoint(content, artifact.path)
    model = restore_model(checkpoint)
    evaluation = evaluate(model, digits, samples=2)
    diagnostics = diagnose(
        model,
        digits,
        evaluation,
        EVALUATION,
        last_active_epochs=checkpoint.last_active_epochs,
        epochs=2,
    )
    assert trial.state == "complete"
    assert trial.rate_nats == evaluation.rate_nats
    stored = {name: getattr(trial, name) for name in asdict(diagnostics)}
    assert stored == asdict(diagnostics)
    assert trial.iwae_samples == 4
    assert trial.diagnostic_examples == 100
    assert trial.bce_floor_nats is not None
    assert len(trial.notes) == 1

    rows = latents_of(db, STUDY.name)[0]
    assert [row.kl_nats for row in rows] == list(evaluation.latent_kl_nats)
    assert [row.kl_std_nats for row in rows] == list(evaluation.latent_kl_std_nats)
    assert [row.kl_q10_nats for row in rows] == list(evaluation.latent_kl_q10_nats)
    assert [row.kl_q90_nats for row in rows] == list(evaluation.latent_kl_q90_nats)
    assert [row.last_active_epoch for row in rows] == list(checkpoint.last_active_epochs)


def test_every_epoch_says_how_many_latents_were_active(tmp_path: Path, digits: DataSet) -> None:
    db = _ran(tmp_path, digits).db
    epochs = epochs_of(db, STUDY.name)[0]
    last = [row.last_active_epoch for row in latents_of(db, STUDY.name)[0]]
    assert epochs[-1].active_units == sum(epoch == 2 for epoch in last)


def test_traversals_are_stored_with_the_latents_that_they_are_of(
    tmp_path: Path, digits: DataSet
) -> None:
    scene = _ran(tmp_path, digits)
    pictures, latents = _array(scene, "traversals"), _array(scene, "traversal_latents")
    assert pictures.dtype == np.uint8
    assert pictures.shape == (3, 9, 1, 8, 8)
    assert latents.dtype == np.int64
    rates = {row.latent: row.kl_nats for row in latents_of(scene.db, STUDY.name)[0]}
    assert latents.tolist() == sorted(rates, key=lambda latent: -rates[latent])
    reconstruction = _array(scene, "reconstructions")[1, 0]
    for row in pictures:
        assert np.abs(row[4].astype(int) - reconstruction).max() <= 1
    assert _array(scene, "samples").shape == (10, 1, 8, 8)


def test_data_that_is_no_image_leaves_no_pictures(tmp_path: Path) -> None:
    data = load_data(
        DataConfig(name="gaussian", spectrum=(2.0, 1.0), train_size=600, heldout_size=600)
    )
    model = {"family": "linear", "latent_dim": 1, "likelihood": "gaussian_optimal"}
    scene = _ran(tmp_path, data, model=model)
    trial = scene.trial
    assert trial.exact_nll_nats is not None
    assert trial.distortion_nll_nats is not None
    assert trial.rate_nats is not None
    assert trial.exact_nll_nats < trial.distortion_nll_nats + trial.rate_nats
    assert trial.sigma2_learned is not None
    for kind in ("reconstructions", "samples", "traversals", "traversal_latents"):
        assert artifacts_of(scene.db, STUDY.name, kind) == {}
    assert 0 in artifacts_of(scene.db, STUDY.name, "checkpoint")


def test_the_least_evaluation_still_stores_rate_distortion_and_the_gap(
    tmp_path: Path, digits: DataSet
) -> None:
    trial = _ran(tmp_path, digits, evaluation=EvaluationConfig(diagnostic_examples=0)).trial
    assert trial.iwae_nats is None
    assert trial.mutual_information_nats is None
    assert trial.train_rate_nats is not None
    assert trial.collapse in ("none", "partial", "never_active", "collapsed")


def test_a_training_that_diverges_stores_no_diagnostics(tmp_path: Path, digits: DataSet) -> None:
    trial = _ran(tmp_path, digits, train={"learning_rate": 1e12}, epochs=3).trial
    assert trial.state == "diverged"
    assert trial.error is not None
    assert "must stay finite" in trial.error
    assert trial.collapse is None
    assert trial.rate_nats is None


def test_a_model_that_diverged_unnoticed_ends_as_diverged(tmp_path: Path, digits: DataSet) -> None:
    """Its held-out terms are not finite although all training terms were."""
    images = digits.heldout.float() / 16
    images[0] = 1e30  # its square is infinite in single precision
    data = replace(digits, train=digits.train.float() / 16, heldout=images, scale=1.0)
    trial = _ran(tmp_path, data).trial
    assert trial.state == "diverged"
    assert trial.error is not None
    assert trial.error.startswith("after epoch 2, step 10: `held-out terms are finite`")
