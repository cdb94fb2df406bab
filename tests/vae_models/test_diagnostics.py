"""All diagnostics of a model in one record, with its warnings in words."""

import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from optimal_linear_vae import gaussian_images, optimal_linear_vae
from prior_settings import prior_settings
from vae_models.aggregate_posterior import aggregate_posterior
from vae_models.config import LIKELIHOODS, PRIORS, ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.diagnostics import Diagnostics, diagnose
from vae_models.disentanglement import scores
from vae_models.evaluation import evaluate
from vae_models.evaluation_config import EvaluationConfig
from vae_models.exact_linear import exact_nll_nats
from vae_models.generalisation import training_point
from vae_models.iwae import iwae_bound
from vae_models.vae import VAE, build_vae

SPECTRUM = (3.0, 1.5, 0.7, 0.2)


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _model(shape: tuple[int, int, int] = (1, 8, 8), **settings: Any) -> VAE:
    return build_vae(ModelConfig(**{"hidden": (8,), "latent_dim": 2, **settings}), shape, seed=0)


def _diagnosed(
    model: VAE, data: DataSet, last_active: tuple[int, ...] | None = None, **config: Any
) -> Diagnostics:
    config = {"iwae_samples": 8, "diagnostic_examples": 50, **config}
    return diagnose(
        model,
        data,
        evaluate(model, data),
        EvaluationConfig(**config),
        last_active_epochs=(0,) * model.latent_dim if last_active is None else last_active,
        epochs=9,
    )


def test_every_number_is_that_of_its_own_function() -> None:
    model = optimal_linear_vae(SPECTRUM, beta=1.0, sigma2=0.5, latents=3)
    data = DataSet(
        name="made",
        train=gaussian_images(SPECTRUM, 500, seed=1),
        heldout=gaussian_images(SPECTRUM, 300, seed=2),
        scale=1.0,
        peak=None,
    )
    found = _diagnosed(model, data, (9, 9, 9), diagnostic_examples=100, samples=2)
    some = data.heldout[::3]
    parts, bound = aggregate_posterior(model, some), iwae_bound(model, some, samples=8)
    point = training_point(model, data, samples=2)
    assert asdict(found) == {
        "mutual_information_nats": parts.mutual_information_nats,
        "marginal_kl_nats": parts.marginal_kl_nats,
        "total_correlation_nats": parts.total_correlation_nats,
        "dimension_kl_nats": parts.dimension_kl_nats,
        "diagnostic_examples": 100,
        "iwae_nats": bound.nats,
        "iwae_stderr_nats": bound.stderr_nats,
        "iwae_samples": 8,
        "exact_nll_nats": exact_nll_nats(model, data.heldout),
        "bce_floor_nats": None,
        "collapse": "none",
        "collapse_epoch": None,
        "train_rate_nats": point.rate_nats,
        "train_distortion_se": point.distortion_se,
        "train_distortion_nll_nats": point.distortion_nll_nats,
        "mig": None,
        "dci_disentanglement": None,
        "dci_completeness": None,
        "dci_informativeness": None,
        "factorvae_score": None,
        "betavae_score": None,
        "notes": (),
    }


def test_nothing_is_estimated_where_no_examples_are_granted(digits: DataSet) -> None:
    found = _diagnosed(_model(), digits, diagnostic_examples=0)
    assert found.diagnostic_examples is None
    assert found.mutual_information_nats is None
    assert found.iwae_nats is None
    assert found.iwae_samples is None
    assert found.train_rate_nats is not None


def test_no_draws_leave_the_importance_weighted_bound_out(digits: DataSet) -> None:
    found = _diagnosed(_model(), digits, iwae_samples=0)
    assert (found.iwae_nats, found.iwae_stderr_nats, found.iwae_samples) == (None, None, None)
    assert found.mutual_information_nats is not None


def test_more_examples_than_there_are_means_all(digits: DataSet) -> None:
    assert _diagnosed(_model(), digits, diagnostic_examples=10_000).diagnostic_examples == 300


def test_a_collapse_is_dated_by_the_training(digits: DataSet) -> None:
    model = _model()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    never, late = _diagnosed(model, digits, (0, 0)), _diagnosed(model, digits, (2, 5))
    assert (never.collapse, never.collapse_epoch) == ("never_active", None)
    assert (late.collapse, late.collapse_epoch) == ("collapsed", 6)


def test_information_near_its_ceiling_is_said_to_saturate(digits: DataSet) -> None:
    model = _model()
    with torch.no_grad():
        model.get_parameter("encoder.layers.2.weight").mul_(30)
        model.get_parameter("encoder.layers.2.bias")[2:].sub_(12)
    (note,) = _diagnosed(model, digits).notes
    assert note.startswith("I(x; z) = 3.9")
    assert "within 1 nat of ln 50 = 3.912" in note
    assert "More held-out examples would tell" in note


@pytest.mark.parametrize(
    ("likelihood", "binarisation", "words"),
    [
        ("gaussian", "none", []),
        ("bernoulli", "threshold", []),
        ("mse", "none", ["gaussian with sigma2 = 1/2"]),
        ("bernoulli", "none", ["cannot be below"]),
        ("bce", "none", ["no likelihood on grey levels", "cannot be below"]),
        ("bce", "threshold", ["bernoulli on binary data"]),
    ],
)
def test_losses_that_are_no_likelihoods_are_marked_as_such(
    likelihood: str, binarisation: str, words: list[str]
) -> None:
    data = load_data(DataConfig(name="digits", binarisation=binarisation))
    found = _diagnosed(_model(likelihood=likelihood), data)
    assert len(found.notes) == len(words)
    assert all(word in note for word, note in zip(words, found.notes, strict=True))
    assert found.iwae_nats is not None
    grey = likelihood in ("bernoulli", "bce") and binarisation == "none"
    assert (found.bce_floor_nats is not None) == grey


def test_a_number_that_is_not_finite_is_left_out_and_said_so(digits: DataSet) -> None:
    train = torch.full((3, 1, 8, 8), 1e38)
    data = replace(digits, train=train, heldout=digits.heldout.float() / 16, scale=1.0)
    found = _diagnosed(_model(), data)
    assert found.train_distortion_se is None
    assert found.train_distortion_nll_nats is None
    assert found.iwae_nats is not None
    assert any(note.startswith("`train_distortion_se` was inf") for note in found.notes)
    numbers = [value for value in asdict(found).values() if isinstance(value, float)]
    assert all(map(math.isfinite, numbers))


def test_known_factors_are_scored_from_the_held_out_posterior_means() -> None:
    data = load_data(DataConfig(name="sprites", image_size=16, train_size=60, heldout_size=60))
    model = _model((1, 16, 16), likelihood="bernoulli")
    assert data.factors is not None
    with torch.no_grad():
        codes = model.encode(data.heldout_images()).mean.numpy()
    expected = asdict(scores(codes, data.factors.heldout, data.factors.sizes, seed=0))
    found = asdict(_diagnosed(model, data))
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["mig"] is not None
    assert _diagnosed(model, data, disentanglement=False).mig is None


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_two_constant_images_of_one_pixel_with_more_latents_than_pixels_have_all_numbers(
    prior: str, likelihood: str
) -> None:
    images = torch.ones((2, 1, 1, 1))
    data = DataSet(name="made", train=images, heldout=images, scale=1.0)
    model = _model((1, 1, 1), likelihood=likelihood, latent_dim=3, **prior_settings(prior))
    found = _diagnosed(model, data)
    assert found.diagnostic_examples == 2
    assert found.mutual_information_nats == pytest.approx(0, abs=1e-9)
    assert found.iwae_nats is not None
    assert found.collapse == "never_active"


def test_diagnostics_repeat_and_leave_the_global_random_state_alone(digits: DataSet) -> None:
    model = _model(posterior="full", prior="mixture")
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    first = _diagnosed(model, digits)
    assert torch.equal(torch.rand(4), expected)
    assert _diagnosed(model, digits) == first
