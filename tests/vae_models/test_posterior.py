"""One contract for every posterior, and the heads that make them from raw numbers."""

from abc import ABC, abstractmethod

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.linalg import cholesky

from vae_models.config import LARGEST_FULL_LATENT, ModelConfig
from vae_models.posterior import DiagonalNormal, FullNormal, Posterior
from vae_models.posterior_heads import DiagonalHead, FullHead, PosteriorHead, head_of
from vae_models.prior_distributions import NormalPrior

BATCH = 5


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class PosteriorContract(ABC):
    """What holds for every posterior; a new one inherits these tests."""

    @pytest.fixture(params=[1, 2, 4])
    def latents(self, request: pytest.FixtureRequest) -> int:
        return int(request.param)

    @pytest.fixture
    def posterior(self, latents: int) -> Posterior:
        posterior: Posterior = self.head(latents)(_normal(BATCH, self.head(latents).outputs))
        return posterior

    @abstractmethod
    def head(self, latents: int) -> PosteriorHead:
        """The head that makes it."""

    @abstractmethod
    def reference(self, posterior: Posterior) -> Distribution:
        """The same distribution by torch.distributions."""

    def covariance(self, posterior: Posterior) -> Tensor:
        reference = self.reference(posterior)
        if isinstance(reference, MultivariateNormal):
            return reference.covariance_matrix
        return torch.diag_embed(reference.variance)

    def test_log_prob_is_that_of_torch_distributions(
        self, posterior: Posterior, latents: int
    ) -> None:
        draws = 3 * _normal(BATCH, latents, seed=1)
        expected = self.reference(posterior).log_prob(draws)
        torch.testing.assert_close(posterior.log_prob(draws), expected)

    def test_draws_in_front_give_every_draw_under_every_example(
        self, posterior: Posterior, latents: int
    ) -> None:
        draws = 3 * _normal(7, 1, latents, seed=1)
        expected = self.reference(posterior).log_prob(draws)
        assert expected.shape == (7, BATCH)
        torch.testing.assert_close(posterior.log_prob(draws), expected)
        marginals = posterior.marginal_log_prob(draws)
        assert marginals.shape == (7, BATCH, latents)

    def test_several_draws_per_example_keep_their_example(
        self, posterior: Posterior, latents: int
    ) -> None:
        draws = _normal(2, 3, BATCH, latents, seed=1)
        expected = self.reference(posterior).log_prob(draws)
        torch.testing.assert_close(posterior.log_prob(draws), expected)

    def test_the_density_of_a_draw_is_told_by_its_noise(
        self, posterior: Posterior, latents: int
    ) -> None:
        noise = _normal(7, BATCH, latents, seed=1)
        draws = posterior.sample(noise)
        expected = self.reference(posterior).log_prob(draws)
        torch.testing.assert_close(posterior.draw_log_prob(draws, noise), expected)

    def test_the_marginals_are_those_of_torch_distributions(
        self, posterior: Posterior, latents: int
    ) -> None:
        reference = self.reference(posterior)
        torch.testing.assert_close(posterior.mean, reference.mean)
        torch.testing.assert_close(posterior.marginal_variance, reference.variance)
        draws = 3 * _normal(BATCH, latents, seed=1)
        marginals: Distribution = Normal(reference.mean, reference.stddev)
        expected = marginals.log_prob(draws)
        torch.testing.assert_close(posterior.marginal_log_prob(draws), expected)

    def test_the_log_determinant_is_that_of_the_covariance(self, posterior: Posterior) -> None:
        expected = torch.logdet(self.covariance(posterior))
        torch.testing.assert_close(posterior.log_determinant, expected)

    def test_draws_have_the_mean_and_the_covariance(
        self, posterior: Posterior, latents: int
    ) -> None:
        """Within five standard errors of 100,000 draws."""
        count = 100_000
        draws = posterior.sample(_normal(count, BATCH, latents, seed=2))
        deviations = posterior.marginal_variance.sqrt()
        assert ((draws.mean(0) - posterior.mean).abs() < 5 * deviations / count**0.5).all()
        errors = draws - posterior.mean
        covariance = torch.einsum("dbi,dbj->bij", errors, errors) / count
        scale = deviations.unsqueeze(-1) * deviations.unsqueeze(-2)
        gap = (covariance - self.covariance(posterior)) / scale
        assert gap.abs().max() < 5 * (2 / count) ** 0.5

    def test_a_draw_is_differentiable_in_every_raw_number(self, latents: int) -> None:
        head = self.head(latents)
        raw = _normal(BATCH, head.outputs).requires_grad_()
        weights = _normal(BATCH, latents, seed=3)
        drawn: Tensor = head(raw).sample(_normal(BATCH, latents, seed=2)) * weights
        drawn.sum().backward()  # type: ignore[no-untyped-call]
        assert raw.grad is not None
        assert (raw.grad != 0).all()

    @pytest.mark.parametrize("value", [-60.0, 60.0])
    def test_extreme_raw_numbers_stay_finite_and_keep_a_gradient(
        self, latents: int, value: float
    ) -> None:
        head = self.head(latents)
        raw = torch.full((2, head.outputs), value, requires_grad=True)
        posterior = head(raw)
        draw = posterior.sample(torch.ones(2, latents))
        rate = NormalPrior().kl_nats(posterior, draw)
        terms: Tensor = rate + posterior.log_prob(draw) + posterior.log_prob(draw + 100)
        assert torch.isfinite(terms).all()
        rate.sum().backward()  # type: ignore[no-untyped-call]
        assert raw.grad is not None
        assert torch.isfinite(raw.grad).all()
        assert raw.grad.abs().max() > 0


class TestDiagonalNormal(PosteriorContract):
    def head(self, latents: int) -> PosteriorHead:
        return DiagonalHead(latents)

    def reference(self, posterior: Posterior) -> Distribution:
        assert isinstance(posterior, DiagonalNormal)
        return Independent(Normal(posterior.mean, torch.exp(0.5 * posterior.log_variance)), 1)

    def test_log_variances_lie_between_minus_and_plus_twenty(self) -> None:
        raw = torch.tensor([[0.0, 0.0, 0.0, -60.0, 1.0, 60.0]], dtype=torch.float64)
        expected = torch.tensor([[-20.0, 1.0, 20.0]], dtype=torch.float64)
        log_variance = DiagonalHead(3)(raw).log_variance
        torch.testing.assert_close(log_variance, expected, rtol=0, atol=1e-8)


class TestFullNormal(PosteriorContract):
    def head(self, latents: int) -> PosteriorHead:
        return FullHead(latents)

    def reference(self, posterior: Posterior) -> Distribution:
        assert isinstance(posterior, FullNormal)
        return MultivariateNormal(posterior.mean, scale_tril=posterior.scale_tril)

    def test_the_head_reaches_every_covariance(self, latents: int) -> None:
        """The raw numbers, solved for, give a random covariance back."""
        square = _normal(BATCH, latents, latents)
        covariance = square @ square.mT + 0.1 * torch.eye(latents)
        factor = cholesky(covariance)
        scales = factor.diagonal(dim1=-2, dim2=-1)
        rows, columns = torch.tril_indices(latents, latents, offset=-1)
        below = (factor / scales.unsqueeze(-1))[:, rows, columns]
        raw = torch.cat([torch.zeros_like(scales), 2 * scales.log(), below], dim=1)
        posterior = FullHead(latents)(raw)
        torch.testing.assert_close(self.covariance(posterior), covariance, rtol=1e-6, atol=1e-6)

    def test_without_entries_below_the_diagonal_it_is_the_diagonal_one(self, latents: int) -> None:
        raw = _normal(BATCH, 2 * latents)
        below = torch.zeros(BATCH, latents * (latents - 1) // 2, dtype=torch.float64)
        full, diagonal = FullHead(latents)(torch.cat([raw, below], 1)), DiagonalHead(latents)(raw)
        draws = _normal(BATCH, latents, seed=1)
        torch.testing.assert_close(full.log_prob(draws), diagonal.log_prob(draws))
        torch.testing.assert_close(full.sample(draws), diagonal.sample(draws))

    def test_at_its_largest_size_a_draw_can_be_scored_in_single_precision(self) -> None:
        head = FullHead(LARGEST_FULL_LATENT)
        raw = 0.3 * _normal(BATCH, head.outputs)
        noise = _normal(BATCH, LARGEST_FULL_LATENT, seed=1)
        exact = head(raw).log_prob(head(raw).sample(noise))
        single = head(raw.float())
        scored = single.log_prob(single.sample(noise.float()))
        torch.testing.assert_close(scored.double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("posterior", "outputs"), [("diagonal", 10), ("full", 20)])
def test_a_head_says_how_many_numbers_it_needs(posterior: str, outputs: int) -> None:
    """M = 5: 2M, and 2M + M (M - 1) / 2."""
    head = head_of(ModelConfig(posterior=posterior, latent_dim=5))
    assert head.outputs == outputs
    assert head.state_dict() == {}
