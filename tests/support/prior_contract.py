"""What holds for every prior: its tests inherit these and bring an independent statement."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

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

from vae_models.config import ModelConfig
from vae_models.posterior import DiagonalNormal, FullNormal, Posterior
from vae_models.posterior_heads import FullHead
from vae_models.prior_distributions import PriorDistribution
from vae_models.vae import VAE, build_vae

SHAPE = (1, 2, 2)
POSTERIORS = ["diagonal", "full"]


def normal_draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy_posterior(kind: str, batch: int, latents: int) -> Posterior:
    mean = normal_draws(batch, latents, seed=10)
    raw_log_variance = 0.5 * normal_draws(batch, latents, seed=11) - 1
    if kind == "diagonal":
        return DiagonalNormal(mean, raw_log_variance)
    below = normal_draws(batch, latents * (latents - 1) // 2, seed=12)
    full: FullNormal = FullHead(latents)(torch.cat([mean, raw_log_variance, below], 1))
    return full


def reference_of(posterior: Posterior) -> Distribution:
    if isinstance(posterior, FullNormal):
        return MultivariateNormal(posterior.mean, scale_tril=posterior.scale_tril)
    return Independent(Normal(posterior.mean, posterior.marginal_variance.sqrt()), 1)


def _plane(extent: float = 14.0, points: int = 561) -> tuple[Tensor, float]:
    """The points of a square grid, ``[points², 2]``, and the area of one cell."""
    axis = torch.linspace(-extent, extent, points, dtype=torch.float64)
    cell = (axis[1] - axis[0]).item() ** 2
    return torch.cartesian_prod(axis, axis), cell


class PriorContract(ABC):
    """What holds for every prior; a new one inherits these tests."""

    settings: ClassVar[dict[str, Any]]

    def model(self, latents: int, seed: int = 0) -> VAE:
        """A small model in float64 whose prior is away from where it starts."""
        config = ModelConfig(hidden=(6,), latent_dim=latents, **self.settings)
        model = build_vae(config, SHAPE, seed).double()
        with torch.no_grad():
            for index, parameter in enumerate(model.prior.parameters()):
                parameter.add_(normal_draws(*parameter.shape, seed=20 + index), alpha=0.7)
        return model

    @pytest.fixture(params=[1, 2, 3])
    def latents(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture
    def vae(self, latents: int) -> VAE:
        return self.model(latents)

    @pytest.fixture
    def prior(self, vae: VAE) -> PriorDistribution:
        return vae.prior_distribution()

    @abstractmethod
    def components(self, vae: VAE) -> tuple[Tensor, Tensor, Tensor]:
        """Weights ``[k]``, means ``[k, M]`` and scales ``[k, M]``, by other code than ours."""

    def reference(self, vae: VAE) -> Distribution:
        weights, means, scales = self.components(vae)
        normals = Independent(Normal(means, scales), 1)
        return MixtureSameFamily(Categorical(probs=weights), normals)

    def marginals(self, vae: VAE) -> Distribution:
        """A mixture in one dimension for every latent."""
        weights, means, scales = self.components(vae)
        choice = Categorical(probs=weights.expand(means.shape[1], -1))
        return MixtureSameFamily(choice, Normal(means.T, scales.T))

    def test_log_prob_is_that_of_torch_distributions(
        self, vae: VAE, prior: PriorDistribution, latents: int
    ) -> None:
        for shape in [(9,), (4, 5), ()]:
            draws = 3 * normal_draws(*shape, latents, seed=1)
            expected = self.reference(vae).log_prob(draws)
            assert expected.shape == shape
            torch.testing.assert_close(prior.log_prob(draws), expected)

    def test_marginal_log_prob_is_that_of_torch_distributions(
        self, vae: VAE, prior: PriorDistribution, latents: int
    ) -> None:
        draws = 3 * normal_draws(4, 5, latents, seed=1)
        expected = self.marginals(vae).log_prob(draws)
        torch.testing.assert_close(prior.marginal_log_prob(draws), expected)

    def test_the_density_integrates_to_one_in_one_dimension(self) -> None:
        prior = self.model(1).prior_distribution()
        grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
        density = prior.log_prob(grid.unsqueeze(-1)).exp()
        assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-8)
        torch.testing.assert_close(prior.marginal_log_prob(grid[:, None])[:, 0].exp(), density)

    def test_the_density_integrates_to_one_and_to_its_marginals_in_the_plane(self) -> None:
        prior = self.model(2).prior_distribution()
        points, cell = _plane()
        side = math.isqrt(len(points))
        density = prior.log_prob(points).exp().view(side, side)
        assert density.sum().item() * cell == pytest.approx(1, abs=1e-6)
        axis = points.view(side, side, 2)[0, :, 1]
        expected = prior.marginal_log_prob(torch.stack([axis, axis], 1)).exp()
        for latent in range(2):
            integrated = density.sum(1 - latent) * cell**0.5
            torch.testing.assert_close(integrated, expected[:, latent], rtol=1e-5, atol=1e-6)

    def test_draws_have_the_moments_of_torch_distributions(
        self, vae: VAE, prior: PriorDistribution, latents: int
    ) -> None:
        """Mean and second moment within five standard errors of 200,000 draws."""
        count = 200_000
        generator = torch.Generator().manual_seed(5)
        choice = torch.rand(count, generator=generator, dtype=torch.float64)
        draws = prior.sample(normal_draws(count, latents, seed=4), choice)
        expected = self.reference(vae)
        second = expected.variance + expected.mean.square()
        for moments, exact in ((draws, expected.mean), (draws.square(), second)):
            stderr = moments.std(0) / count**0.5
            assert ((moments.mean(0) - exact).abs() < 5 * stderr).all()

    def test_draws_cover_the_whole_density(self, prior: PriorDistribution, latents: int) -> None:
        """E[-ln p] over draws is the entropy: here against a second set from the reference."""
        generator = torch.Generator().manual_seed(6)
        choice = torch.rand(50_000, generator=generator, dtype=torch.float64)
        ours = -prior.log_prob(prior.sample(normal_draws(50_000, latents, seed=7), choice))
        torch.manual_seed(8)
        theirs = -prior.log_prob(self.reference(self.model(latents)).sample((50_000,)))
        stderr = ((ours.var() + theirs.var()) / 50_000).sqrt()
        assert (ours.mean() - theirs.mean()).abs() < 5 * stderr

    @pytest.mark.parametrize("choice", [0.0, 1 - 2**-24])
    def test_every_choice_gives_a_draw(
        self, prior: PriorDistribution, latents: int, choice: float
    ) -> None:
        draw = prior.sample(normal_draws(1, latents), torch.tensor([choice], dtype=torch.float32))
        assert draw.shape == (1, latents)
        assert torch.isfinite(draw).all()

    def test_the_mean_of_kl_nats_is_the_divergence_integrated_in_one_dimension(self) -> None:
        """Within five standard errors; to rounding where there is a closed form."""
        prior = self.model(1).prior_distribution()
        one = DiagonalNormal(*torch.tensor([[[0.8]], [[-1.0]]], dtype=torch.float64))
        grid = torch.linspace(-12, 12, 24_001, dtype=torch.float64).unsqueeze(-1)
        log_q = reference_of(one).log_prob(grid)
        gap = log_q - prior.log_prob(grid)
        exact = torch.trapezoid(log_q.exp() * gap, grid[:, 0]).item()
        self._check_divergence(prior, one, exact)

    @pytest.mark.parametrize("kind", POSTERIORS)
    def test_the_mean_of_kl_nats_is_the_divergence_integrated_in_the_plane(
        self, kind: str
    ) -> None:
        prior = self.model(2).prior_distribution()
        one = toy_posterior(kind, 1, 2)
        points, cell = _plane(extent=9.0)
        log_q = reference_of(one).log_prob(points)
        exact = (log_q.exp() * (log_q - prior.log_prob(points))).sum().item() * cell
        self._check_divergence(prior, one, exact)

    @staticmethod
    def _check_divergence(prior: PriorDistribution, one: Posterior, exact: float) -> None:
        count, latents = 100_000, one.mean.shape[1]
        if prior.closed_form:
            drawn = prior.kl_nats(one, one.mean)
            assert drawn.item() == pytest.approx(exact, rel=1e-6)
            return
        draws = one.sample(normal_draws(count, 1, latents, seed=9))[:, 0]
        drawn = one.log_prob(draws.unsqueeze(1))[:, 0] - prior.log_prob(draws)
        nats = prior.kl_nats(_repeated(one, count), draws)
        torch.testing.assert_close(nats, drawn)
        assert abs(nats.mean().item() - exact) < 5 * nats.std().item() / count**0.5

    def test_gradients_reach_every_parameter_of_the_prior(self, vae: VAE, latents: int) -> None:
        posterior = toy_posterior("diagonal", 64, latents)
        prior = vae.prior_distribution()
        rate: Tensor = prior.kl_nats(
            posterior, posterior.sample(normal_draws(64, latents, seed=2))
        )
        weighted: Tensor = rate * normal_draws(64, seed=3)
        if rate.requires_grad:
            weighted.sum().backward()  # type: ignore[no-untyped-call]
        for parameter in vae.prior.parameters():
            assert parameter.grad is not None
            assert (parameter.grad != 0).any(dim=0).all()

    def test_a_draw_carries_a_gradient_to_the_means_and_scales(
        self, prior: PriorDistribution, latents: int
    ) -> None:
        choice = torch.linspace(0, 0.999, 200, dtype=torch.float64)
        drawn = prior.sample(normal_draws(200, latents), choice)
        learned = [
            part
            for part in (getattr(prior, name, None) for name in ("means", "log_scales"))
            if isinstance(part, Tensor)
        ]
        weighted: Tensor = drawn * normal_draws(200, latents, seed=2)
        for gradient in torch.autograd.grad(weighted.sum(), learned) if learned else ():
            assert (gradient != 0).all()

    def test_its_state_makes_the_same_prior_again(self, vae: VAE, latents: int) -> None:
        other = build_vae(ModelConfig(hidden=(6,), latent_dim=latents, **self.settings), SHAPE, 9)
        other.double().load_state_dict(vae.state_dict())
        draws = normal_draws(9, latents)
        ours, theirs = vae.prior_distribution(), other.prior_distribution()
        assert torch.equal(ours.log_prob(draws), theirs.log_prob(draws))

    @pytest.mark.parametrize("kind", POSTERIORS)
    @pytest.mark.parametrize("far", [-1e4, 1e4])
    @pytest.mark.parametrize("raw", [-60.0, 0.0, 60.0])
    def test_extreme_posteriors_and_parameters_stay_finite(
        self, kind: str, far: float, raw: float
    ) -> None:
        latents = 3
        vae = self.model(latents).float()
        with torch.no_grad():
            for parameter in vae.prior.parameters():
                parameter.fill_(raw)
        mean = torch.full((2, latents), far, requires_grad=True)
        log_variance = torch.full((2, latents), 20.0 if far > 0 else -20.0)
        posterior: Posterior = DiagonalNormal(mean, log_variance)
        if kind == "full":
            posterior = FullNormal(mean, torch.diag_embed(torch.exp(0.5 * log_variance)))
        prior = vae.prior_distribution()
        latent = posterior.sample(torch.ones(2, latents))
        nats = prior.kl_nats(posterior, latent)
        assert torch.isfinite(nats).all()
        assert torch.isfinite(prior.latent_kl_nats(posterior, latent)).all()
        nats.sum().backward()  # type: ignore[no-untyped-call]
        gradients = [mean.grad, *(p.grad for p in vae.prior.parameters())]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def _repeated(posterior: Posterior, count: int) -> Posterior:
    """One example's posterior as a batch of `count`."""
    if isinstance(posterior, FullNormal):
        mean, scale_tril = posterior.mean, posterior.scale_tril
        return FullNormal(mean.expand(count, -1), scale_tril.expand(count, -1, -1))
    assert isinstance(posterior, DiagonalNormal)
    return DiagonalNormal(
        posterior.mean.expand(count, -1), posterior.log_variance.expand(count, -1)
    )


def bent_scale(raw: Tensor) -> Tensor:
    """exp of the parameter, bent into (-10, 10): the definition, written out."""
    upper = 10 - torch.log1p(torch.exp(10 - raw))
    return torch.exp(-10 + torch.log1p(torch.exp(upper + 10)))


def no_encoder(images: Tensor) -> Posterior:
    raise AssertionError("this prior needs no encoder")
