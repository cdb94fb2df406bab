"""One contract for every likelihood: a normalised density that torch.distributions agrees with."""

import math
from abc import ABC, abstractmethod
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent, Normal

from vae_models.config import ModelConfig
from vae_models.likelihoods import Likelihood, likelihood_of

SIGMA2 = 0.3


def _assert_close(ours: Tensor | None, theirs: Tensor | None) -> None:
    """To the precision of ln sigma, which a model makes in float32."""
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


class LikelihoodContract(ABC):
    """What holds for every likelihood; a new one inherits these tests."""

    config: ModelConfig
    sigma2: float | None

    @pytest.fixture
    def likelihood(self) -> Likelihood:
        return likelihood_of(self.config).double()

    @pytest.fixture
    def output(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn((5, 2, 3, 4), generator=generator, dtype=torch.float64)

    @pytest.fixture
    def images(self, output: Tensor) -> Tensor:
        return self.reference(output).sample()

    @abstractmethod
    def reference(self, output: Tensor) -> Distribution:
        """The same distribution by torch.distributions."""

    @abstractmethod
    def total_probability(self, likelihood: Likelihood) -> float:
        """The density of a small image, summed or integrated over all images."""

    def test_the_density_is_normalised(self, likelihood: Likelihood) -> None:
        assert self.total_probability(likelihood) == pytest.approx(1.0, abs=1e-6)

    def test_log_prob_is_that_of_torch_distributions(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        expected = self.reference(output).log_prob(images)
        _assert_close(likelihood(output).log_prob(images), expected)

    def test_the_mean_is_that_of_torch_distributions(
        self, likelihood: Likelihood, output: Tensor
    ) -> None:
        torch.testing.assert_close(likelihood(output).mean, self.reference(output).mean)

    def test_the_costs_are_minus_log_prob_and_the_error_of_the_mean(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        nll, error = likelihood(output).costs(images)
        reference = self.reference(output)
        _assert_close(nll, -reference.log_prob(images))
        torch.testing.assert_close(error, (images - reference.mean).square().sum((1, 2, 3)))

    def test_the_nll_carries_the_gradient_of_torch_distributions(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        ours, theirs = (output.clone().requires_grad_() for _ in range(2))
        likelihood(ours).costs(images)[0].sum().backward()
        expected: Tensor = -self.reference(theirs).log_prob(images)
        expected.sum().backward()  # type: ignore[no-untyped-call]
        _assert_close(ours.grad, theirs.grad)

    def test_it_says_its_variance_or_that_it_has_none(self, likelihood: Likelihood) -> None:
        if self.sigma2 is None:
            assert likelihood.sigma2 is None
        else:
            assert likelihood.sigma2 == pytest.approx(self.sigma2, rel=1e-6)


class GaussianContract(LikelihoodContract):
    """What holds for both Gaussian likelihoods."""

    sigma2 = SIGMA2

    def reference(self, output: Tensor) -> Distribution:
        return Independent(Normal(output, math.sqrt(SIGMA2)), 3)

    def total_probability(self, likelihood: Likelihood) -> float:
        grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
        output = torch.full((len(grid), 1, 1, 1), 0.7, dtype=torch.float64)
        density = likelihood(output).log_prob(grid.view(-1, 1, 1, 1)).exp()
        return torch.trapezoid(density, grid).item()


class TestGaussian(GaussianContract):
    config = ModelConfig(likelihood="gaussian", sigma2=SIGMA2)

    def test_a_fixed_variance_is_no_parameter(self, likelihood: Likelihood) -> None:
        assert list(likelihood.parameters()) == []


class TestGaussianLearned(GaussianContract):
    config = ModelConfig(likelihood="gaussian_learned", sigma2=SIGMA2)

    def test_the_variance_that_fits_best_is_the_mean_squared_error(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        """Rybkin et al. 2021: the maximum over sigma² is the MSE."""
        optimiser = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value: Tensor = -likelihood(output).log_prob(images).mean()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        for _ in range(5):
            optimiser.step(loss)  # type: ignore[no-untyped-call]
        mse = (images - output).square().mean().item()
        assert likelihood.sigma2 == pytest.approx(mse, rel=1e-5)

    def test_sigma_stays_above_its_bound_and_keeps_a_gradient(
        self, likelihood: Likelihood, output: Tensor
    ) -> None:
        with torch.no_grad():
            for parameter in likelihood.parameters():
                parameter.fill_(-20.0)
        assert likelihood.sigma2 is not None
        assert likelihood.sigma2 > math.exp(-12)
        (-likelihood(output).log_prob(output + 1).mean()).backward()
        assert all(p.grad is not None and p.grad.abs() > 0 for p in likelihood.parameters())


class TestBernoulli(LikelihoodContract):
    config = ModelConfig(likelihood="bernoulli")
    sigma2 = None

    def reference(self, output: Tensor) -> Distribution:
        return Independent(TorchBernoulli(logits=output), 3)

    def total_probability(self, likelihood: Likelihood) -> float:
        images = torch.tensor(list(product((0.0, 1.0), repeat=6)), dtype=torch.float64)
        logits = torch.linspace(-3, 3, 6, dtype=torch.float64).expand_as(images)
        log_prob = likelihood(logits.reshape(-1, 1, 2, 3)).log_prob(images.reshape(-1, 1, 2, 3))
        total: float = log_prob.exp().sum().item()
        return total

    def test_of_a_grey_image_it_takes_minus_the_binary_cross_entropy(
        self, likelihood: Likelihood, output: Tensor
    ) -> None:
        grey = torch.rand(output.shape, dtype=torch.float64)
        p = torch.sigmoid(output)
        expected = (grey * p.log() + (1 - grey) * (1 - p).log()).sum((1, 2, 3))
        torch.testing.assert_close(likelihood(output).log_prob(grey), expected)

    def test_certain_logits_stay_finite(self, likelihood: Likelihood) -> None:
        logits = torch.full((1, 1, 1, 2), 1e4, dtype=torch.float64)
        nll, error = likelihood(logits).costs(torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64))
        assert nll.item() == pytest.approx(1e4)
        assert error.item() == pytest.approx(1.0)
