"""Total correlation in a minibatch: against loops over its definition, and against Gaussians."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from torch import Tensor

from vae_models.minibatch_tc import (
    log_aggregate_density,
    log_product_of_marginals,
    total_correlation_nats,
)
from vae_models.posterior import DiagonalNormal, FullNormal, Posterior

EXAMPLES = 700


def drawn(batch: int, latents: int, *, full: bool) -> tuple[Tensor, Posterior]:
    """A posterior per example, and draws from them."""
    generator = torch.Generator().manual_seed(0)
    mean, noise, raw = (
        torch.randn((batch, latents), generator=generator, dtype=torch.float64) for _ in range(3)
    )
    posterior: Posterior = DiagonalNormal(mean, 0.5 * raw)
    if full:
        lower = torch.randn((batch, latents, latents), generator=generator, dtype=torch.float64)
        scale = 0.3 * lower.tril(-1) + torch.diag_embed((0.3 * raw).exp())
        posterior = FullNormal(mean, scale)
    return posterior.sample(noise), posterior


def covariance_of(posterior: Posterior, example: int) -> np.ndarray:
    if isinstance(posterior, FullNormal):
        scale = posterior.scale_tril[example].numpy()
        return np.asarray(scale @ scale.T)
    return np.diag(posterior.marginal_variance[example].numpy())


@pytest.mark.parametrize("full", [False, True])
def test_both_densities_are_weighted_sums_over_the_batch(full: bool) -> None:
    """By scipy, in loops over the definition."""
    latents, posterior = drawn(4, 3, full=full)
    joints, products = [], []
    for row in latents.numpy():
        joint, marginals = 0.0, np.zeros(3)
        for example in range(4):
            mean, covariance = posterior.mean[example].numpy(), covariance_of(posterior, example)
            joint += multivariate_normal(mean, covariance).pdf(row)
            marginals += norm(mean, np.sqrt(np.diag(covariance))).pdf(row)
        joints.append(math.log(joint / (EXAMPLES * 4)))
        products.append(sum(math.log(marginal / (EXAMPLES * 4)) for marginal in marginals))
    found = log_aggregate_density(latents, posterior, EXAMPLES)
    assert found.tolist() == pytest.approx(joints, rel=1e-10)
    found = log_product_of_marginals(latents, posterior, EXAMPLES)
    assert found.tolist() == pytest.approx(products, rel=1e-10)
    total = total_correlation_nats(latents, posterior, EXAMPLES).item()
    assert total == pytest.approx(np.mean(joints) - np.mean(products), rel=1e-10)


def gaussian_aggregate(
    means: np.ndarray, scale: np.ndarray, count: int
) -> tuple[Tensor, FullNormal]:
    """A whole training set with q(z) = N(0, means + scale scaleᵀ): posterior means of that
    covariance, and one posterior covariance for all."""
    generator = np.random.default_rng(5)
    mean = generator.multivariate_normal(np.zeros(len(means)), means, count)
    noise = generator.standard_normal(mean.shape)
    posterior = FullNormal(torch.from_numpy(mean), torch.from_numpy(scale).expand(count, -1, -1))
    return posterior.sample(torch.from_numpy(noise)), posterior


@pytest.mark.parametrize(
    ("means", "variances"),
    [
        pytest.param([[0.5, 0.0], [0.0, 0.8]], [0.5, 0.2], id="linear VAE: N(0, I)"),
        pytest.param([[0.6, 0.5], [0.5, 0.6]], [0.4, 0.4], id="correlated means"),
        pytest.param([[1.5, -1.1], [-1.1, 1.5]], [0.1, 0.3], id="strongly correlated means"),
    ],
)
def test_over_the_whole_training_set_it_is_that_of_the_aggregated_gaussian(
    means: list[list[float]], variances: list[float]
) -> None:
    """-½ ln det of the correlations, once (M - 1) ln B is taken off, as its page says."""
    count = 2000
    spread = np.array(means)
    latents, posterior = gaussian_aggregate(spread, np.diag(np.sqrt(variances)), count)
    total = total_correlation_nats(latents, posterior, count).item() - math.log(count)
    assert total == pytest.approx(exact(spread + np.diag(variances)), abs=0.03)


def test_correlations_within_each_posterior_count_too() -> None:
    count, scale = 2000, np.array([[0.8, 0.0], [0.6, 0.4]])
    means = np.diag([0.3, 0.5])
    latents, posterior = gaussian_aggregate(means, scale, count)
    total = total_correlation_nats(latents, posterior, count).item() - math.log(count)
    assert total == pytest.approx(exact(means + scale @ scale.T), abs=0.03)


def exact(covariance: np.ndarray) -> float:
    deviations = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(deviations, deviations)
    return -0.5 * float(np.linalg.slogdet(correlations)[1])


def test_one_latent_has_none() -> None:
    latents, posterior = drawn(6, 1, full=False)
    assert total_correlation_nats(latents, posterior, EXAMPLES).item() == pytest.approx(0.0)


def test_one_example_gives_a_constant_that_pulls_at_nothing() -> None:
    """(M - 1) ln n, whatever the posterior."""
    mean = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    posterior = DiagonalNormal(mean, torch.zeros_like(mean))
    total = total_correlation_nats(posterior.sample(torch.ones_like(mean)), posterior, EXAMPLES)
    assert total.item() == pytest.approx(2 * math.log(EXAMPLES))
    (gradient,) = torch.autograd.grad(total, mean)
    assert gradient.abs().max().item() < 1e-12


def test_the_number_of_examples_shifts_the_value_only() -> None:
    latents, posterior = drawn(6, 3, full=False)
    few, many = (total_correlation_nats(latents, posterior, count).item() for count in (6, 6000))
    assert many - few == pytest.approx(2 * math.log(1000))


def test_latents_that_no_posterior_reaches_have_finite_densities() -> None:
    _, posterior = drawn(6, 3, full=False)
    far = torch.full((6, 3), 1e4, dtype=torch.float64)
    assert bool(log_aggregate_density(far, posterior, EXAMPLES).isfinite().all())
    assert bool(log_product_of_marginals(far, posterior, EXAMPLES).isfinite().all())
