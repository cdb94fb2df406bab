"""Every formula of docs/priors.md: what the scale of a prior changes, and what it does not."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from exact_linear_points import closed_form, exact_point, linear_parts, optimum
from vae_models.config import ModelConfig
from vae_models.linear_networks import LinearEncoder
from vae_models.normal_priors import LearnedNormalPrior, ScaledNormalPrior
from vae_models.vae import VAE, build_vae

SCALES = [0.2, 0.5, 3.0]
LAMBDAS = [0.1, 0.5, 2.0, 4.0]


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _gaussians(kind: str, batch: int = 6, latents: int = 3) -> MultivariateNormal:
    """Some q(z|x) with different means and covariances."""
    mean, log_scale = _normal(batch, latents), 0.7 * _normal(batch, latents, seed=1)
    factor = torch.diag_embed(log_scale.exp())
    if kind == "full":
        factor = factor + _normal(batch, latents, latents, seed=2).tril(-1)
    return MultivariateNormal(mean, scale_tril=factor)


def _prior(latents: int, variance: float = 1.0) -> Distribution:
    zero = torch.zeros(latents, dtype=torch.float64)
    return MultivariateNormal(zero, variance * torch.eye(latents, dtype=torch.float64))


def _log_determinant(q: MultivariateNormal) -> Tensor:
    return torch.logdet(q.covariance_matrix)


# 1. Scaling the prior is a change of units of the latents.


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("scale", SCALES)
def test_the_kl_to_a_scaled_prior_is_that_of_the_rescaled_posterior_to_the_standard_one(
    kind: str, scale: float
) -> None:
    q = _gaussians(kind)
    rescaled = MultivariateNormal(q.mean / scale, scale_tril=q.scale_tril / scale)
    scaled = kl_divergence(q, _prior(3, scale**2))
    torch.testing.assert_close(scaled, kl_divergence(rescaled, _prior(3)))


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("scale", SCALES)
def test_the_kl_to_a_scaled_prior_written_out(kind: str, scale: float) -> None:
    q = _gaussians(kind)
    moments = q.mean.square().sum(1) + q.variance.sum(1)
    expected = 0.5 * (moments / scale**2 - 3 + 6 * math.log(scale) - _log_determinant(q))
    torch.testing.assert_close(kl_divergence(q, _prior(3, scale**2)), expected)


def test_the_kl_to_a_learned_normal_prior_is_that_of_the_shifted_and_rescaled_posterior() -> None:
    q = _gaussians("diagonal")
    shift, scales = _normal(3, seed=4), _normal(3, seed=5).exp()
    rescaled = Independent(Normal((q.mean - shift) / scales, q.stddev / scales), 1)
    standard = Independent(Normal(torch.zeros_like(shift), torch.ones_like(scales)), 1)
    original = Independent(Normal(q.mean, q.stddev), 1)
    learned = kl_divergence(original, Independent(Normal(shift, scales), 1))
    torch.testing.assert_close(learned, kl_divergence(rescaled, standard))


class Point(NamedTuple):
    """Rate, squared error and NLL of every image."""

    rate: Tensor
    error: Tensor
    nll: Tensor


def _point(vae: VAE, images: Tensor, noise: Tensor) -> Point:
    terms = vae(images, noise)
    return Point(terms.rate_nats, terms.distortion_se, terms.distortion_nll_nats)


def _assert_same(one: Point, other: Point) -> None:
    """To the bend of the log-variances, which is 1e-8 in the middle of their range."""
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def _rescale_latents(vae: VAE, scales: Tensor, shift: Tensor) -> None:
    """Multiplies the latents and adds a shift in the encoder, and undoes both in the decoder."""
    latents = len(scales)
    if isinstance(vae.encoder, LinearEncoder):
        encoder, decoder = linear_parts(vae)
        last, first, log_variances = encoder.mean, decoder.output, encoder.raw_log_variance
    else:
        last = _linear(vae.encoder.get_submodule("layers.2"))
        first = _linear(vae.decoder.get_submodule("layers.0"))
        log_variances = last.bias
    with torch.no_grad():
        log_variances[-latents:] += 2 * scales.log()
        last.weight[:latents] *= scales.unsqueeze(1)
        last.bias[:latents] = last.bias[:latents] * scales + shift
        first.weight /= scales
        first.bias.sub_(first.weight @ shift)


def _linear(layer: nn.Module) -> nn.Linear:
    assert isinstance(layer, nn.Linear)
    return layer


@pytest.mark.parametrize("latents", [3, 20], ids="M={}".format)
@pytest.mark.parametrize("family", ["linear", "mlp"])
@pytest.mark.parametrize("scale", SCALES)
def test_a_network_with_a_scaled_prior_is_one_with_the_standard_prior(
    family: str, latents: int, scale: float
) -> None:
    """Every draw has the same rate and the same reconstruction; M = 20 is more than N = 8."""
    config = ModelConfig(family=family, hidden=(9,), latent_dim=latents, sigma2=0.3)
    vae = build_vae(config, (1, 2, 4), seed=0).double()
    images, noise = _normal(5, 1, 2, 4), _normal(5, latents, seed=1)
    standard = _point(vae, images, noise)
    vae.prior = ScaledNormalPrior(scale)
    before = _point(vae, images, noise).rate
    assert not torch.allclose(before, standard.rate)
    every = torch.full((latents,), scale, dtype=torch.float64)
    _rescale_latents(vae, every, torch.zeros_like(every))
    _assert_same(_point(vae, images, noise), standard)


@pytest.mark.parametrize("family", ["linear", "mlp"])
def test_a_network_with_a_learned_normal_prior_is_one_with_the_standard_prior(family: str) -> None:
    config = ModelConfig(family=family, hidden=(9,), latent_dim=3, sigma2=0.3)
    vae = build_vae(config, (1, 2, 4), seed=0).double()
    images, noise = _normal(5, 1, 2, 4), _normal(5, 3, seed=1)
    standard = _point(vae, images, noise)
    prior = LearnedNormalPrior(3).double()
    with torch.no_grad():
        prior.mean.copy_(_normal(3, seed=4))
        prior.raw_log_scale.copy_(0.5 * _normal(3, seed=5))
    vae.prior = prior
    distribution = prior(vae.encode)
    assert isinstance(distribution.log_scale, Tensor)
    _rescale_latents(vae, distribution.log_scale.detach().exp(), prior.mean.detach())
    _assert_same(_point(vae, images, noise), standard)


@pytest.mark.parametrize(("t", "latents"), [(0.1, 8), (1.0, 3), (1.0, 8), (3.0, 12)])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_the_linear_optimum_is_the_closed_form_at_every_scale_of_the_prior(
    t: float, latents: int, scale: float
) -> None:
    vae = optimum(t, latents)
    vae.prior = ScaledNormalPrior(scale)
    every = torch.full((latents,), scale, dtype=torch.float64)
    _rescale_latents(vae, every, torch.zeros_like(every))
    assert exact_point(vae) == pytest.approx(closed_form(t, latents), rel=1e-6, abs=1e-6)


# 2. No prior multiplies the KL by a number other than one.


def test_a_collapsed_posterior_costs_nothing_under_the_standard_prior_and_no_other() -> None:
    """At q = N(0, I) λ KL is zero whatever λ, and KL(q ‖ N(0, s² I)) is zero for s = 1 only."""
    scales = torch.linspace(0.05, 20, 4000, dtype=torch.float64)
    collapsed = kl_divergence(Normal(torch.zeros_like(scales), 1.0), Normal(0.0, scales))
    assert ((collapsed > 1e-5) | ((scales - 1).abs() < 0.01)).all()
    assert kl_divergence(_prior(3), _prior(3)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("factor", LAMBDAS)
def test_averages_of_shifted_posteriors_contradict_an_equality_up_to_a_constant(
    factor: float,
) -> None:
    """The step of the proof: u = ln p' - λ ln p averages over N(m, σ²), m ~ N(0, τ²), to its
    value at N(0, σ² + τ²); the entropies that it would have to equal do not.
    """
    nodes, weights = _hermite(80)

    def u(z: Tensor) -> Tensor:
        return -0.1 * z.square().square() - 0.3 * z + 0.5 * factor * z.square()

    sigma, tau = 0.6, 1.1
    shifted = (weights[:, None] * weights * u(tau * nodes[:, None] + sigma * nodes)).sum()
    wide = (weights * u(math.hypot(sigma, tau) * nodes)).sum()
    torch.testing.assert_close(shifted, wide)
    growth = (factor - 1) * math.log(math.hypot(sigma, tau) / sigma)  # of (λ - 1) H
    assert abs(growth) > 0.05


def _hermite(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of E over N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


# 3. The tempered prior: λ times the KL only up to the posterior's volume.


@pytest.mark.parametrize("factor", LAMBDAS)
def test_the_tempered_prior_is_normal_with_variance_one_over_lambda(factor: float) -> None:
    """p^λ, normalised by an integral in the plane."""
    axis = torch.linspace(-30, 30, 1201, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    tempered = factor * _prior(2).log_prob(points)
    normaliser = torch.logsumexp(tempered, 0) + 2 * math.log((axis[1] - axis[0]).item())
    expected = _prior(2, 1 / factor).log_prob(points)
    torch.testing.assert_close(tempered - normaliser, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("factor", LAMBDAS)
def test_the_kl_to_the_tempered_prior_differs_by_the_log_volume_of_the_posterior(
    kind: str, factor: float
) -> None:
    q = _gaussians(kind)
    volume = 0.5 * (factor - 1) * (3 + _log_determinant(q)) - 1.5 * math.log(factor)
    expected = factor * kl_divergence(q, _prior(3)) + volume
    torch.testing.assert_close(kl_divergence(q, _prior(3, 1 / factor)), expected)
    log_tau = math.log(2 * math.pi)
    entropy = 0.5 * (3 * (1 + log_tau) + _log_determinant(q))
    by_entropy = (factor - 1) * entropy + 1.5 * ((1 - factor) * log_tau - math.log(factor))
    torch.testing.assert_close(volume, by_entropy)


@pytest.mark.parametrize("factor", LAMBDAS)
def test_under_a_fixed_covariance_the_two_differ_by_a_constant(factor: float) -> None:
    factor_of_all = _gaussians("full", batch=1).scale_tril
    q = MultivariateNormal(_normal(9, 3, seed=7), scale_tril=factor_of_all.expand(9, 3, 3))
    difference = kl_divergence(q, _prior(3, 1 / factor)) - factor * kl_divergence(q, _prior(3))
    torch.testing.assert_close(difference, difference[:1].expand(9))


@pytest.mark.parametrize("factor", LAMBDAS)
def test_the_constant_is_zero_at_one_volume_only(factor: float) -> None:
    """Per latent σ² = λ^(1/(λ-1)) / e."""
    variance = factor ** (1 / (factor - 1)) / math.e

    def difference(scale: float) -> float:
        q = Independent(Normal(_normal(4, 3), scale), 1)
        one = Independent(Normal(torch.zeros(3), 1.0), 1)
        tempered = Independent(Normal(torch.zeros(3), factor**-0.5), 1)
        gap = kl_divergence(q, tempered) - factor * kl_divergence(q, one)
        return gap.abs().max().item()

    assert difference(math.sqrt(variance)) == pytest.approx(0, abs=1e-6)
    assert difference(0.9 * math.sqrt(variance)) > 0.01


@pytest.mark.parametrize("factor", LAMBDAS)
def test_with_a_fixed_covariance_lambda_is_a_change_of_the_noise(factor: float) -> None:
    """λ KL(N(m, σ² I) ‖ N(0, I)) and KL(N(√λ m, λ σ² I) ‖ N(0, I)): equal but for a constant."""
    mean, sigma = _normal(7, 3), 0.4
    one = Independent(Normal(torch.zeros(3, dtype=torch.float64), 1.0), 1)
    weighted = factor * kl_divergence(Independent(Normal(mean, sigma), 1), one)
    noisier = Independent(Normal(factor**0.5 * mean, factor**0.5 * sigma), 1)
    gap = kl_divergence(noisier, one) - weighted
    torch.testing.assert_close(gap, gap[:1].expand(7))


# 4. What does multiply the KL: a likelihood to the power of 1/λ.


@pytest.mark.parametrize("factor", LAMBDAS)
def test_a_gaussian_decoder_of_lambda_times_the_variance_weighs_the_kl_by_lambda(
    factor: float,
) -> None:
    """-ln N(x; x̂, λσ² I) + KL is 1/λ of -ln N(x; x̂, σ² I) + λ KL, but for a constant."""
    gaps = []
    for seed in range(3):
        narrow, wide = (
            build_vae(ModelConfig(hidden=(9,), latent_dim=3, sigma2=sigma2), (1, 2, 4), seed)
            for sigma2 in (0.3, factor * 0.3)
        )
        images, noise = _normal(5, 1, 2, 4), _normal(5, 3, seed=1)
        one, other = (_point(vae.double(), images, noise) for vae in (narrow, wide))
        gaps.append(factor * (other.nll + other.rate) - (one.nll + factor * one.rate))
    # the decoder holds its variance in float32
    assert torch.stack(gaps).std() < 1e-6
    expected = 4 * (factor * math.log(2 * math.pi * factor * 0.3) - math.log(2 * math.pi * 0.3))
    assert gaps[0][0].item() == pytest.approx(expected)


def test_on_linear_data_lambda_moves_the_optimum_and_the_scale_of_the_prior_does_not() -> None:
    plain = closed_form(0.5, 8)
    assert closed_form(4 * 0.5, 8)[0] < plain[0] - 1
    assert exact_point(optimum(0.5, 8)) == pytest.approx(plain, rel=1e-6)
