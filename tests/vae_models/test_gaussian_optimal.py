"""The sigma-VAE's variance: optimal for the batch in training, a running mean elsewhere."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.distributions import Normal

from likelihood_contract import log_prob_of
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.gaussian_optimal import GaussianOptimal
from vae_models.likelihoods import likelihood_of
from vae_models.soft_clamp import inverse_of_clamped_below
from vae_models.trainer import Trainer

FLOOR = math.exp(-12)


@pytest.fixture
def likelihood() -> GaussianOptimal:
    made = likelihood_of(ModelConfig(likelihood="gaussian_optimal")).double()
    assert isinstance(made, GaussianOptimal)
    return made


@pytest.fixture
def output() -> Tensor:
    return torch.randn((6, 1, 4, 5), generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def images(output: Tensor) -> Tensor:
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).double()
    return output + 0.4 * noise


def _nll(output: Tensor, images: Tensor, sigma: float) -> float:
    log_prob = log_prob_of(Normal(output, sigma), images)
    return -log_prob.sum(dim=(1, 2, 3)).mean().item()


def test_in_training_the_nll_is_the_least_over_sigma(
    likelihood: GaussianOptimal, output: Tensor, images: Tensor
) -> None:
    best = minimize_scalar(
        lambda log_sigma: _nll(output, images, math.exp(log_sigma)), bracket=(-3, 0), tol=1e-10
    )
    distribution = likelihood.observe(output, images)
    assert isinstance(distribution.log_sigma, Tensor)
    assert distribution.log_sigma.item() == pytest.approx(best.x, abs=1e-4)
    assert distribution.costs(images)[0].mean().item() == pytest.approx(best.fun, abs=1e-6)


def test_the_gradient_is_that_of_a_learned_sigma_at_its_optimum(
    likelihood: GaussianOptimal, output: Tensor, images: Tensor
) -> None:
    ours, theirs = (output.clone().requires_grad_() for _ in range(2))
    likelihood.observe(ours, images).costs(images)[0].mean().backward()  # type: ignore[no-untyped-call]

    learned = likelihood_of(ModelConfig(likelihood="gaussian_learned")).double()
    (raw_log_sigma,) = learned.parameters()
    mse = (images - output).square().mean().item()
    with torch.no_grad():
        raw_log_sigma.fill_(inverse_of_clamped_below(0.5 * math.log(mse), -6.0))
    learned(theirs).costs(images)[0].mean().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-8)
    assert raw_log_sigma.grad is not None
    assert raw_log_sigma.grad.item() == pytest.approx(0.0, abs=1e-8)


def test_before_any_batch_the_variance_is_one(likelihood: GaussianOptimal) -> None:
    assert likelihood.sigma2 == 1.0


def test_after_one_batch_the_running_variance_is_that_batchs_error(
    likelihood: GaussianOptimal, output: Tensor, images: Tensor
) -> None:
    likelihood.observe(output, images)
    mse = (images - output).square().mean().item()
    assert likelihood.sigma2 == pytest.approx(mse + FLOOR, rel=1e-9)


def test_the_running_variance_is_the_mean_of_the_batches_weighted_by_age(
    likelihood: GaussianOptimal, output: Tensor
) -> None:
    errors = np.linspace(1.0, 0.2, 30)
    for error in errors:
        likelihood.observe(output, output + error)
    weights = 0.99 ** np.arange(len(errors))[::-1]
    expected = np.average(errors**2, weights=weights) + FLOOR
    assert likelihood.sigma2 == pytest.approx(expected, rel=1e-9)


def test_the_running_variance_approaches_the_error_that_the_batches_come_to(
    likelihood: GaussianOptimal, output: Tensor
) -> None:
    likelihood.observe(output, output + 3.0)
    for _ in range(1500):
        likelihood.observe(output, output + 0.1)
    assert likelihood.sigma2 == pytest.approx(0.01 + FLOOR, rel=1e-3)


def test_outside_training_the_distribution_has_the_running_variance(
    likelihood: GaussianOptimal, output: Tensor, images: Tensor
) -> None:
    likelihood.observe(output, images)
    expected = -_nll(output, images + 1, math.sqrt(likelihood.sigma2))
    assert likelihood(output).log_prob(images + 1).mean().item() == pytest.approx(expected)


def test_the_variance_survives_a_checkpoint(
    likelihood: GaussianOptimal, output: Tensor, images: Tensor
) -> None:
    for shift in (0.0, 0.5):
        likelihood.observe(output, images + shift)
    other = likelihood_of(ModelConfig(likelihood="gaussian_optimal")).double()
    other.load_state_dict(likelihood.state_dict())
    for module in (likelihood, other):
        module.observe(output, images + 1)
    assert other.sigma2 == likelihood.sigma2


def test_it_adds_nothing_for_the_optimiser(likelihood: GaussianOptimal) -> None:
    assert list(likelihood.parameters()) == []


def test_a_perfect_reconstruction_has_the_least_variance_and_a_gradient_of_zero() -> None:
    likelihood = likelihood_of(ModelConfig(likelihood="gaussian_optimal"))
    output = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    images = torch.full((1, 1, 2, 2), 0.5)
    nll, error = likelihood.observe(output, images).costs(images)
    nll.sum().backward()  # type: ignore[no-untyped-call]
    assert error.item() == 0
    assert nll.item() == pytest.approx(4 * (-6 + 0.5 * math.log(2 * math.pi)), rel=1e-6)
    assert likelihood.sigma2 == pytest.approx(FLOOR, rel=1e-6)
    torch.testing.assert_close(output.grad, torch.zeros_like(output))


def test_on_linear_data_it_settles_where_the_closed_form_puts_it() -> None:
    """As a learned one: sigma² = Σ_{i>k} λᵢ / (N - k beta), with k = M latents here."""
    spectrum, latents, beta = (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05), 3, 1.0
    data = load_data(DataConfig(name="gaussian", spectrum=spectrum, train_size=40_000))
    trial = TrialConfig(
        model=ModelConfig(family="linear", latent_dim=latents, likelihood="gaussian_optimal"),
        objective=ObjectiveConfig(beta=beta),
        train=TrainConfig(epochs=13, batch_size=256, learning_rate=3e-2, lr_schedule="cosine"),
    )
    trainer = Trainer([trial], data)
    list(trainer)
    sigma2 = evaluate(trainer.model(0), data).sigma2
    assert sigma2 == pytest.approx(sum(spectrum[latents:]) / (8 - latents * beta), rel=0.02)
