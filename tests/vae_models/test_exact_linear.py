"""The exact likelihood of linear models against a dense multivariate normal in float64."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from optimal_linear_vae import gaussian_images, optimal_linear_vae
from vae_models.config import LIKELIHOODS, PRIORS, ModelConfig
from vae_models.exact_linear import exact_nll_nats
from vae_models.prior_distributions import NormalPrior
from vae_models.vae import VAE, build_vae

SPECTRUM = (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05)


def _linear(pixels: int = 6, latents: int = 3, **settings: Any) -> VAE:
    """A linear model with random weights, biases and prior."""
    config = ModelConfig(family="linear", latent_dim=latents, **settings)
    model = build_vae(config, (1, 1, pixels), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def _dense(model: VAE, sigma2: float) -> Distribution:
    """p(x), from draws-free moments of z and the decoder's matrix alone."""
    weight = model.get_parameter("decoder.output.weight").detach().double()
    bias = model.get_parameter("decoder.output.bias").detach().double()
    prior = model.prior_distribution()
    latents = model.latent_dim
    assert isinstance(prior, NormalPrior)
    mean = torch.as_tensor(prior.mean, dtype=torch.float64).detach().expand(latents)
    log_scale = torch.as_tensor(prior.log_scale, dtype=torch.float64).detach()
    variance = torch.exp(2 * log_scale).expand(latents)
    covariance = weight @ torch.diag(variance) @ weight.T
    covariance += sigma2 * torch.eye(len(weight), dtype=torch.float64)
    return MultivariateNormal(weight @ mean + bias, covariance)


def _images(pixels: int, count: int = 11) -> Tensor:
    return torch.randn((count, 1, 1, pixels), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("prior", ["standard", "scaled", "learned"])
@pytest.mark.parametrize(("pixels", "latents"), [(6, 3), (3, 6), (4, 4), (1, 1), (1, 3), (5, 1)])
def test_it_is_the_density_of_the_dense_covariance(prior: str, pixels: int, latents: int) -> None:
    scale = {"prior_scale": 1.7} if prior == "scaled" else {}
    model = _linear(pixels, latents, sigma2=0.3, prior=prior, **scale)
    images = _images(pixels)
    expected = -_dense(model, 0.3).log_prob(images.flatten(1).double()).mean().item()
    assert exact_nll_nats(model, images) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("likelihood", ["gaussian_learned", "gaussian_optimal", "mse"])
def test_every_variance_that_all_pixels_share_has_one(likelihood: str) -> None:
    model = _linear(likelihood=likelihood)
    sigma2 = model.likelihood.sigma2
    assert sigma2 is not None
    expected = -_dense(model, sigma2).log_prob(_images(6).flatten(1).double()).mean().item()
    assert exact_nll_nats(model, _images(6)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_the_encoder_has_no_part_in_it(posterior: str) -> None:
    model = _linear(posterior=posterior)
    before = exact_nll_nats(model, _images(6))
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.fill_(4.0)
    assert exact_nll_nats(model, _images(6)) == before


@pytest.mark.parametrize(
    "settings",
    [
        *({"likelihood": n} for n in LIKELIHOODS if "gaussian" not in n and n != "mse"),
        {"likelihood": "gaussian_pixel"},
        {"likelihood": "gaussian", "output_activation": "sigmoid"},
        {"likelihood": "mse", "output_activation": "sigmoid"},
        {"prior": "mixture", "prior_components": 2},
        {"prior": "vamp", "prior_components": 2},
        {"family": "mlp", "hidden": (4,)},
    ],
    ids=str,
)
def test_models_without_a_normal_density_have_none(settings: dict[str, Any]) -> None:
    assert set(PRIORS) == {"standard", "scaled", "learned", "mixture", "vamp"}
    model = build_vae(ModelConfig(**{"family": "linear", **settings}), (1, 2, 3), seed=0)
    assert exact_nll_nats(model, torch.full((3, 1, 2, 3), 0.5)) is None


def test_a_tiny_variance_is_taken_as_it_is() -> None:
    model = _linear(sigma2=1e-8)
    found, dense = exact_nll_nats(model, _images(6)), _dense(model, 1e-8)
    expected = -dense.log_prob(_images(6).flatten(1).double()).mean().item()
    assert found == pytest.approx(expected, rel=1e-6)
    assert found is not None
    assert found > 1e6


def test_at_the_analytic_optimum_it_is_the_closed_form() -> None:
    beta, sigma2, latents = 4.0, 0.25, 8
    t, count = beta * sigma2, 400_000
    model = optimal_linear_vae(SPECTRUM, beta=beta, sigma2=sigma2, latents=latents)
    marginals = [value - t + sigma2 if value > t else sigma2 for value in SPECTRUM]
    expected = 0.5 * sum(
        math.log(2 * math.pi * c) + value / c for value, c in zip(SPECTRUM, marginals, strict=True)
    )
    found = exact_nll_nats(model, gaussian_images(SPECTRUM, count))
    assert found == pytest.approx(expected, abs=0.05)


def test_the_batches_are_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _linear()
    whole = exact_nll_nats(model, _images(6))
    monkeypatch.setattr("vae_models.exact_linear._NUMBERS", 7)
    assert exact_nll_nats(model, _images(6)) == pytest.approx(whole, rel=1e-12)
