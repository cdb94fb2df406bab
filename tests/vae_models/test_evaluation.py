"""Held-out numbers, re-computed from a saved checkpoint by code that shares nothing with ours."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    Normal,
    kl_divergence,
)
from torch.nn.functional import linear

from vae_models.checkpoints import (
    Checkpoint,
    checkpoint_bytes,
    read_checkpoint,
    restore_model,
)
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.errors import DataError, NonFiniteError
from vae_models.evaluation import Evaluation, evaluate
from vae_models.trainer import Trainer
from vae_models.vae import build_vae

DRAWS = 64
LIKELIHOODS = ("gaussian", "gaussian_learned", "bernoulli")


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


@pytest.fixture(scope="module", params=LIKELIHOODS)
def checkpoint(request: pytest.FixtureRequest, digits: DataSet) -> Checkpoint:
    config = TrialConfig(
        model=ModelConfig(hidden=(48,), latent_dim=6, likelihood=request.param, sigma2=0.03),
        objective=ObjectiveConfig(beta=2.0, reduction="mean"),
        train=TrainConfig(epochs=8, batch_size=64, learning_rate=3e-3),
    )
    trainer = Trainer([config], digits)
    list(trainer)
    return read_checkpoint(checkpoint_bytes(trainer.checkpoint(0)), "trial")


def _posterior(checkpoint: Checkpoint, images: Tensor) -> Normal:
    """The encoder, written out on the checkpoint's tensors in float64."""
    w = {name: tensor.double() for name, tensor in checkpoint.model.items()}
    hidden = linear(images, w["encoder.layers.0.weight"], w["encoder.layers.0.bias"]).relu()
    out = linear(hidden, w["encoder.layers.2.weight"], w["encoder.layers.2.bias"])
    return Normal(out[:, :6], (0.5 * out[:, 6:]).exp())


def _likelihood(checkpoint: Checkpoint, latents: Tensor) -> Distribution:
    """The decoder, likewise."""
    w = {name: tensor.double() for name, tensor in checkpoint.model.items()}
    hidden = linear(latents, w["decoder.layers.0.weight"], w["decoder.layers.0.bias"]).relu()
    out = linear(hidden, w["decoder.layers.2.weight"], w["decoder.layers.2.bias"])
    model: dict[str, Any] = checkpoint.config["model"]
    if model["likelihood"] == "bernoulli":
        return Independent(Bernoulli(logits=out, validate_args=False), 1)
    if model["likelihood"] == "gaussian":
        return Independent(Normal(out, math.sqrt(0.03)), 1)
    raw = w["likelihood.raw_log_sigma"]
    return Independent(Normal(out, torch.exp(-6 + torch.log1p(torch.exp(raw + 6)))), 1)


def test_rate_and_distortion_are_what_torch_distributions_finds_in_the_checkpoint(
    checkpoint: Checkpoint, digits: DataSet
) -> None:
    ours = evaluate(restore_model(checkpoint), digits, samples=DRAWS)
    images = (digits.heldout.double() / 16).flatten(1)
    posterior = _posterior(checkpoint, images)
    prior = Normal(torch.zeros_like(posterior.mean), 1.0)
    kl = kl_divergence(posterior, prior)

    generator = torch.Generator().manual_seed(1)
    noise = torch.randn((DRAWS, *kl.shape), generator=generator, dtype=torch.float64)
    likelihoods = [_likelihood(checkpoint, posterior.mean + posterior.stddev * e) for e in noise]
    nll = torch.stack([-p.log_prob(images) for p in likelihoods])
    error = torch.stack([(images - p.mean).square().sum(1) for p in likelihoods])

    assert ours.rate_nats == pytest.approx(kl.sum(1).mean().item(), rel=1e-5)
    assert ours.rate_stderr == pytest.approx(kl.sum(1).std().item() / len(kl) ** 0.5, rel=1e-4)
    assert ours.latent_kl_nats == pytest.approx(kl.mean(0).tolist(), rel=1e-4, abs=1e-6)
    for value, draws in ((ours.distortion_nll_nats, nll), (ours.distortion_se, error)):
        # Two independent averages over DRAWS x n draws differ by their Monte-Carlo errors.
        monte_carlo = draws.std(0).square().mean().sqrt().item() / draws.numel() ** 0.5
        assert value == pytest.approx(draws.mean().item(), abs=5 * math.sqrt(2) * monte_carlo)
    expected = nll.mean(0).std().item() / len(kl) ** 0.5
    assert ours.distortion_nll_stderr == pytest.approx(expected, rel=0.02)
    assert ours.latent_kl_std_nats == pytest.approx(kl.std(0, correction=0).tolist(), rel=1e-4)
    low, high = np.quantile(kl.numpy(), (0.1, 0.9), axis=0)
    assert ours.latent_kl_q10_nats == pytest.approx(low, rel=1e-4, abs=1e-6)
    assert ours.latent_kl_q90_nats == pytest.approx(high, rel=1e-4, abs=1e-6)
    variance = posterior.mean.var(0, correction=0)
    assert ours.latent_mean_variance == pytest.approx(variance.tolist(), rel=1e-4, abs=1e-8)
    assert ours.active_units == int((variance > 0.01).sum())


def test_derived_numbers_follow_from_rate_and_distortion(
    checkpoint: Checkpoint, digits: DataSet
) -> None:
    result = evaluate(restore_model(checkpoint), digits)
    assert result.elbo_nats == -(result.rate_nats + result.distortion_nll_nats)
    assert result.mse == pytest.approx(result.distortion_se / 64)
    assert result.psnr_db == pytest.approx(-10 * math.log10(result.mse))
    assert result.collapsed == (result.active_units == 0)
    assert sum(result.latent_kl_nats) == pytest.approx(result.rate_nats)


@pytest.mark.parametrize("binarisation", ["none", "dynamic", "threshold"])
def test_bits_per_dim_are_given_where_the_bound_is_one_on_a_probability(
    binarisation: str,
) -> None:
    data = load_data(DataConfig(name="digits", binarisation=binarisation))
    for likelihood in LIKELIHOODS:
        config = ModelConfig(hidden=(8,), likelihood=likelihood)
        result = evaluate(build_vae(config, (1, 8, 8), seed=0), data)
        if likelihood == "bernoulli" and binarisation != "none":
            assert result.bits_per_dim == pytest.approx(-result.elbo_nats / math.log(2) / 64)
        else:
            assert result.bits_per_dim is None


def test_the_variance_of_the_decoder_is_reported_where_there_is_one(
    checkpoint: Checkpoint, digits: DataSet
) -> None:
    sigma2 = evaluate(restore_model(checkpoint), digits).sigma2
    likelihood = checkpoint.config["model"]["likelihood"]
    if likelihood == "bernoulli":
        assert sigma2 is None
    elif likelihood == "gaussian":
        assert sigma2 == 0.03
    else:
        assert sigma2 is not None
        assert sigma2 != pytest.approx(0.03, rel=1e-3)


def test_numbers_do_not_depend_on_the_batch_size(checkpoint: Checkpoint, digits: DataSet) -> None:
    model = restore_model(checkpoint)
    one, other = (evaluate(model, digits, batch_size=size) for size in (7, 300))
    assert one.distortion_nll_nats == pytest.approx(other.distortion_nll_nats, rel=1e-6)
    assert one.rate_nats == pytest.approx(other.rate_nats, rel=1e-6)


def test_evaluation_repeats_and_leaves_the_global_random_state_alone(
    checkpoint: Checkpoint, digits: DataSet
) -> None:
    model = restore_model(checkpoint)
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    first = evaluate(model, digits)
    assert torch.equal(torch.rand(4), expected)
    assert evaluate(model, digits) == first
    assert evaluate(model, digits, seed=1) != first


def test_data_that_is_no_image_has_no_psnr() -> None:
    data = load_data(
        DataConfig(name="gaussian", spectrum=(2.0, 1.0), train_size=8, heldout_size=8)
    )
    model = build_vae(ModelConfig(family="linear", latent_dim=1), data.image_shape, seed=0)
    assert evaluate(model, data).psnr_db is None


def test_a_model_whose_latents_say_nothing_is_collapsed(digits: DataSet) -> None:
    model = build_vae(ModelConfig(hidden=(8,), latent_dim=3), digits.image_shape, seed=0)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    result: Evaluation = evaluate(model, digits)
    assert (result.active_units, result.collapsed) == (0, True)
    assert result.rate_nats == pytest.approx(0.0, abs=1e-6)


def test_a_model_that_diverged_unnoticed_is_refused(digits: DataSet) -> None:
    model = build_vae(ModelConfig(hidden=(8,)), digits.image_shape, seed=0)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"held-out terms are finite.* got rate_nats=nan"):
        evaluate(model, digits)


def test_one_held_out_example_has_no_standard_error(digits: DataSet) -> None:
    model = build_vae(ModelConfig(hidden=(8,)), digits.image_shape, seed=0)
    with pytest.raises(DataError, match=r"`n >= 2` must hold for a held-out split .* got n=1"):
        evaluate(model, replace(digits, heldout=digits.heldout[:1]))
