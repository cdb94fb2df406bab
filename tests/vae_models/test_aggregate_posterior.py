"""What the rate is made of: against brute force, and the linear optimum where it is known."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from optimal_linear_vae import gaussian_images, optimal_linear_vae
from vae_models.aggregate_posterior import AggregatePosterior, aggregate_posterior, decompose_rate
from vae_models.config import ModelConfig
from vae_models.mixture_distribution import MixturePrior
from vae_models.posterior import DiagonalNormal, FullNormal, Posterior
from vae_models.prior_distributions import NormalPrior, PriorDistribution
from vae_models.vae import build_vae

COUNT, LATENTS = 13, 3
POSTERIORS, PRIORS = ("diagonal", "full"), ("standard", "learned", "mixture")
KINDS = list(product(POSTERIORS, PRIORS))


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _posterior(kind: str, latents: int = LATENTS) -> Posterior:
    mean, log_variance = _randn(COUNT, latents, seed=1), 0.5 * _randn(COUNT, latents, seed=2)
    if kind == "diagonal":
        return DiagonalNormal(mean, log_variance)
    below = 0.4 * _randn(COUNT, latents, latents, seed=3).tril(-1)
    return FullNormal(mean, below + torch.diag_embed(torch.exp(0.5 * log_variance)))


def _prior(kind: str, latents: int = LATENTS) -> PriorDistribution:
    if kind == "standard":
        return NormalPrior()
    if kind == "learned":
        return NormalPrior(_randn(latents, seed=4), 0.3 * _randn(latents, seed=5))
    weights = torch.tensor([0.2, 0.8]).log()
    return MixturePrior(weights, _randn(2, latents, seed=6), 0.2 * _randn(2, latents, seed=7))


def _independent_prior(kind: str) -> tuple[Distribution, list[Distribution]]:
    """p(z) and its marginals by torch.distributions in float64."""
    prior = _prior(kind)
    if isinstance(prior, MixturePrior):
        weights = Categorical(logits=prior.log_weights.double())
        parts = Normal(prior.means.double(), prior.log_scales.double().exp())
        marginals: list[Distribution] = [
            MixtureSameFamily(weights, Normal(parts.loc[:, j], parts.scale[:, j]))
            for j in range(LATENTS)
        ]
        return MixtureSameFamily(weights, Independent(parts, 1)), marginals
    assert isinstance(prior, NormalPrior)
    mean = torch.as_tensor(prior.mean).double().expand(LATENTS)
    scale = torch.as_tensor(prior.log_scale).double().exp().expand(LATENTS)
    whole = Independent(Normal(mean, scale), 1)
    return whole, [Normal(mean[j], scale[j]) for j in range(LATENTS)]


def _covariance(posterior: Posterior, example: int) -> Tensor:
    if isinstance(posterior, FullNormal):
        scale = posterior.scale_tril[example].double()
        return scale @ scale.T
    return torch.diag(posterior.marginal_variance[example].double())


def _draws(posterior: Posterior) -> Tensor:
    return posterior.sample(_randn(*posterior.mean.shape, seed=8))


def _sum_of_parts(parts: AggregatePosterior) -> float:
    return (
        parts.mutual_information_nats
        + parts.total_correlation_nats
        + parts.dimension_kl_nats
        + parts.prior_dependence_nats
    )


@pytest.mark.parametrize(("kind", "prior"), KINDS)
def test_the_parts_are_what_a_double_loop_over_the_examples_gives(kind: str, prior: str) -> None:
    posterior, (whole, marginals) = _posterior(kind), _independent_prior(prior)
    draws = _draws(posterior).double()
    own, joint, dimension, log_prior, prior_marginals = ([0.0] * COUNT for _ in range(5))
    for i, z in enumerate(draws):
        under, latent_under = [], []
        for k in range(COUNT):
            center, covariance = posterior.mean[k].double(), _covariance(posterior, k)
            one: Distribution = MultivariateNormal(center, covariance)
            each: Distribution = Normal(center, covariance.diagonal().sqrt())
            under.append(one.log_prob(z))
            latent_under.append(each.log_prob(z))
        own[i] = under[i].item()
        joint[i] = torch.stack(under).exp().mean().log().item()
        dimension[i] = torch.stack(latent_under).exp().mean(0).log().sum().item()
        log_prior[i] = whole.log_prob(z).item()
        prior_marginals[i] = sum(p.log_prob(z[j]).item() for j, p in enumerate(marginals))

    def gap(left: list[float], right: list[float]) -> object:
        expected = sum(a - b for a, b in zip(left, right, strict=True)) / COUNT
        return pytest.approx(expected, rel=1e-5, abs=1e-6)

    found = decompose_rate(posterior, _prior(prior), draws.float())
    assert found.examples == COUNT
    assert found.rate_nats == gap(own, log_prior)
    assert found.mutual_information_nats == gap(own, joint)
    assert found.marginal_kl_nats == gap(joint, log_prior)
    assert found.total_correlation_nats == gap(joint, dimension)
    assert found.dimension_kl_nats == gap(dimension, prior_marginals)
    assert found.prior_dependence_nats == gap(prior_marginals, log_prior)


@pytest.mark.parametrize(("kind", "prior"), KINDS)
@pytest.mark.parametrize("latents", [1, 6])
def test_the_parts_add_up_to_the_rate(kind: str, prior: str, latents: int) -> None:
    posterior = _posterior(kind, latents)
    found = decompose_rate(posterior, _prior(prior, latents), _draws(posterior))
    rate = found.mutual_information_nats + found.marginal_kl_nats
    assert rate == pytest.approx(found.rate_nats, rel=1e-12)
    assert _sum_of_parts(found) == pytest.approx(found.rate_nats, rel=1e-12)
    if prior != "mixture":
        assert found.prior_dependence_nats == pytest.approx(0, abs=1e-6)
    if latents == 1:
        assert found.total_correlation_nats == pytest.approx(0, abs=1e-12)
        assert found.prior_dependence_nats == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", POSTERIORS)
def test_the_parts_do_not_depend_on_how_many_densities_are_held_at_a_time(kind: str) -> None:
    posterior, prior = _posterior(kind), _prior("mixture")
    whole = decompose_rate(posterior, prior, _draws(posterior))
    for block in (1, 40, 100, 117):
        found = decompose_rate(posterior, prior, _draws(posterior), block=block)
        assert vars(found) == pytest.approx(vars(whole), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("posterior", ["diagonal", "full"])
def test_at_the_linear_optimum_the_whole_rate_is_information(posterior: str) -> None:
    """q(z) = N(0, I) there: no total correlation, no marginal KL, I = R (theory.md section 2)."""
    spectrum, beta, sigma2 = (3.0, 2.0, 1.2), 1.0, 0.6
    model = optimal_linear_vae(spectrum, beta=beta, sigma2=sigma2, latents=3)
    rate = 0.5 * sum(math.log(value / sigma2) for value in spectrum)
    images = gaussian_images(spectrum, 4000)
    with torch.no_grad():
        q = model.encode(images)
    if posterior == "full":
        q = FullNormal(q.mean, torch.diag_embed(q.marginal_variance.sqrt()))
    found = decompose_rate(q, NormalPrior(), q.sample(_randn(4000, 3, seed=9)))
    assert found.rate_nats == pytest.approx(rate, abs=0.1)
    assert found.mutual_information_nats == pytest.approx(rate, abs=0.05)
    assert found.marginal_kl_nats == pytest.approx(0, abs=0.05)
    assert found.total_correlation_nats == pytest.approx(0, abs=0.05)
    assert found.dimension_kl_nats == pytest.approx(0, abs=0.05)
    assert not found.saturated


def test_a_rotated_code_of_unequal_latents_has_the_total_correlation_of_its_covariance() -> None:
    """q(z) = N(0, C) has TC = -½ ln det of its correlation, and Σ_j KL of its variances."""
    covariance = torch.tensor([[1.5, 0.8], [0.8, 0.9]])
    means = _randn(6000, 2, seed=0) @ torch.linalg.cholesky(covariance - 0.2 * torch.eye(2)).T
    posterior = DiagonalNormal(means, torch.full_like(means, math.log(0.2)))
    found = decompose_rate(posterior, NormalPrior(), posterior.sample(_randn(6000, 2, seed=1)))
    correlation2 = 0.8**2 / (1.5 * 0.9)
    expected = 0.5 * sum(v - 1 - math.log(v) for v in (1.5, 0.9))
    assert found.total_correlation_nats == pytest.approx(
        -0.5 * math.log(1 - correlation2), abs=0.04
    )
    assert found.dimension_kl_nats == pytest.approx(expected, abs=0.02)


def test_a_very_sharp_posterior_saturates_at_the_logarithm_of_the_examples() -> None:
    means = _randn(200, 4, seed=0)
    sharp = DiagonalNormal(means, torch.full_like(means, -18.0))
    found = decompose_rate(sharp, NormalPrior(), sharp.sample(_randn(200, 4, seed=1)))
    assert found.rate_nats > 20
    assert found.mutual_information_nats == pytest.approx(math.log(200), abs=1e-6)
    assert found.mutual_information_nats <= math.log(200) + 1e-12
    assert found.saturated


def test_a_posterior_that_says_nothing_has_neither_information_nor_saturation() -> None:
    silent = DiagonalNormal(torch.zeros(50, 3), torch.zeros(50, 3))
    found = decompose_rate(silent, NormalPrior(), silent.sample(_randn(50, 3, seed=1)))
    parts = [value for name, value in vars(found).items() if name != "examples"]
    assert parts == pytest.approx([0.0] * 6, abs=1e-6)
    assert not found.saturated


@pytest.mark.parametrize("settings", [{}, {"posterior": "full"}, {"latent_dim": 1}], ids=str)
def test_a_model_is_encoded_drawn_from_and_taken_apart(settings: dict[str, object]) -> None:
    model = build_vae(ModelConfig(hidden=(8,), **settings), (1, 2, 2), seed=0)  # type: ignore[arg-type]
    images = torch.rand((2500, 1, 2, 2), generator=torch.Generator().manual_seed(0))[:1500]
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    found = aggregate_posterior(model, images)
    assert torch.equal(torch.rand(4), expected)
    with torch.no_grad():
        q = model.encode(images)
        draws = q.sample(_randn(1500, model.latent_dim, seed=0))
        again = decompose_rate(q, model.prior_distribution(), draws)
    assert vars(found) == pytest.approx(vars(again), rel=1e-3, abs=1e-5)
    assert aggregate_posterior(model, images) == found
    assert aggregate_posterior(model, images, seed=1) != found


def test_two_constant_images_of_one_pixel_hold_no_information() -> None:
    model = build_vae(ModelConfig(hidden=(3,), latent_dim=2), (1, 1, 1), seed=0)
    found = aggregate_posterior(model, torch.ones((2, 1, 1, 1)))
    assert found.mutual_information_nats == pytest.approx(0, abs=1e-12)
    assert not found.saturated
    assert all(math.isfinite(value) for value in vars(found).values())
