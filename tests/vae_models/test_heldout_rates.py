"""Held-out rates of posteriors and priors that do not factorise, against integrals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from prior_settings import prior_settings
from vae_models.config import PRIORS, ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.mixture_distribution import MixturePrior
from vae_models.posterior import FullNormal
from vae_models.vae import VAE, build_vae


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _full_model(prior: str = "standard") -> VAE:
    config = ModelConfig(hidden=(8,), latent_dim=3, posterior="full", prior=prior)
    return build_vae(config, (1, 8, 8), seed=3)


def test_the_rate_of_a_full_covariance_is_its_kl_and_not_the_sum_over_latents(
    digits: DataSet,
) -> None:
    model = _full_model()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(3)
        q = model.encode(digits.heldout_images())
    assert isinstance(q, FullNormal)
    posterior = MultivariateNormal(q.mean.double(), scale_tril=q.scale_tril.double())
    standard = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    kl = kl_divergence(posterior, standard)
    marginals = Normal(
        q.mean.double(), posterior.covariance_matrix.diagonal(dim1=1, dim2=2).sqrt()
    )
    latent_kl = kl_divergence(marginals, Normal(torch.zeros(3).double(), 1.0)).mean(0)
    ours = evaluate(model, digits)
    assert ours.rate_nats == pytest.approx(kl.mean().item(), rel=1e-5)
    assert ours.latent_kl_nats == pytest.approx(latent_kl.tolist(), rel=1e-5)
    assert sum(ours.latent_kl_nats) < ours.rate_nats - 0.01


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_a_rate_without_closed_form_is_averaged_over_all_draws(
    digits: DataSet, posterior: str
) -> None:
    config = ModelConfig(
        hidden=(8,), latent_dim=2, posterior=posterior, prior="mixture", prior_components=3
    )
    model = build_vae(config, (1, 8, 8), seed=0)
    data = replace(digits, heldout=digits.heldout[:40])
    exact = _rate_by_integration(model, data)
    errors = []
    for samples in (1, 16, 256):
        result = evaluate(model, data, samples=samples)
        noise = math.sqrt(result.rate_stderr**2 + 1e-8)
        assert result.rate_nats == pytest.approx(exact, abs=5 * noise)
        errors.append(abs(result.rate_nats - exact))
    assert errors[2] < 0.02


def _rate_by_integration(model: VAE, data: DataSet) -> float:
    """KL of every posterior to the mixture in two dimensions, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    grid = torch.tensor(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
    weight = torch.tensor(np.outer(weights, weights).reshape(-1) / (2 * np.pi))
    with torch.no_grad():
        q, prior = model.encode(data.heldout_images()), model.prior_distribution()
    assert isinstance(prior, MixturePrior)
    mixture: Distribution = MixtureSameFamily(
        Categorical(logits=prior.log_weights.double()),
        Independent(Normal(prior.means.double(), prior.log_scales.double().exp()), 1),
    )
    rates = []
    for row in range(len(q.mean)):
        if isinstance(q, FullNormal):
            scale = q.scale_tril[row].double()
        else:
            scale = torch.diag(q.marginal_variance[row].double().sqrt())
        one: Distribution = MultivariateNormal(q.mean[row].double(), scale_tril=scale)
        z = q.mean[row].double() + grid @ scale.T
        rates.append((weight * (one.log_prob(z) - mixture.log_prob(z))).sum())
    return torch.stack(rates).mean().item()


def test_the_standard_error_of_a_rate_covers_the_noise_of_its_draws() -> None:
    """Over 200 seeds on equal images, all that varies is the noise; the error must say how much."""
    images = torch.full((60, 1, 2, 2), 0.5)
    data = DataSet(name="made", train=images, heldout=images, scale=1.0)
    config = ModelConfig(hidden=(4,), latent_dim=2, prior="mixture", prior_components=2)
    model = build_vae(config, (1, 2, 2), seed=0)
    results = [evaluate(model, data, samples=3, seed=seed) for seed in range(200)]
    spread = np.std([result.rate_nats for result in results], ddof=1)
    claimed = np.sqrt(np.mean([result.rate_stderr**2 for result in results]))
    assert claimed == pytest.approx(spread, rel=0.2)
    assert spread > 1e-3


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [*(("diagonal", name) for name in PRIORS), ("full", "learned"), ("full", "mixture")],
)
@pytest.mark.parametrize("latents", [1, 6])
def test_two_constant_images_of_one_pixel_are_evaluated(
    posterior: str, prior: str, latents: int
) -> None:
    images = torch.ones((2, 1, 1, 1))
    data = DataSet(name="made", train=images, heldout=images, scale=1.0)
    settings = prior_settings(prior)
    config = ModelConfig(hidden=(3,), latent_dim=latents, posterior=posterior, **settings)
    result = evaluate(build_vae(config, (1, 1, 1), seed=0), data, samples=2)
    assert math.isfinite(result.rate_nats)
    assert result.collapsed
    assert len(result.latent_kl_q90_nats) == latents
