"""The Gaussian and Bernoulli likelihoods, and the losses that amount to them."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    mse_loss,
)

from likelihood_contract import (
    SquashedContract,
    UnitIntervalContract,
    assert_close,
    log_prob_of,
    softly_clamped,
)
from vae_models.bernoulli_likelihood import BernoulliPixels
from vae_models.config import ModelConfig
from vae_models.likelihood import Likelihood
from vae_models.likelihoods import likelihood_of

SIGMA2 = 0.3


class GaussianContract(SquashedContract):
    """What holds for the Gaussian likelihoods with one variance."""

    sigma2: float | None = SIGMA2
    interval = (-15.0, 15.0)

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        assert self.sigma2 is not None
        return log_prob_of(Normal(output, math.sqrt(self.sigma2)), images)

    def reference_mean(self, output: Tensor) -> Tensor:
        return output


class TestGaussian(GaussianContract):
    config = ModelConfig(likelihood="gaussian", sigma2=SIGMA2)

    def test_a_fixed_variance_is_no_parameter(self, likelihood: Likelihood) -> None:
        assert list(likelihood.parameters()) == []

    def test_a_tiny_variance_gives_finite_numbers(self) -> None:
        likelihood = likelihood_of(ModelConfig(sigma2=1e-12))
        output = torch.ones((1, 1, 28, 28), requires_grad=True)
        nll, _ = likelihood(output).costs(torch.zeros_like(output))
        nll.sum().backward()
        assert nll.item() == pytest.approx(784 * (0.5e12 + 0.5 * math.log(2e-12 * math.pi)))
        assert output.grad is not None
        assert output.grad.isfinite().all()


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


class TestGaussianOptimal(GaussianContract):
    """Before it has seen a batch; what it does in training is tested in `test_gaussian_optimal`."""

    config = ModelConfig(likelihood="gaussian_optimal")
    sigma2 = 1.0


class TestGaussianPixel(SquashedContract):
    config = ModelConfig(likelihood="gaussian_pixel")
    interval = (-100.0, 100.0)

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        mean, raw = output[:, : images.shape[1]], output[:, images.shape[1] :]
        return log_prob_of(Normal(mean, softly_clamped(raw, -6.0, 6.0).exp()), images)

    def reference_mean(self, output: Tensor) -> Tensor:
        return output[:, : output.shape[1] // 2]

    def test_sigma_stays_within_its_bounds(self, likelihood: Likelihood) -> None:
        """At the mean the density is 1/(sigma sqrt(2 pi))."""
        for raw, log_sigma in ((-1e4, -6.0), (1e4, 6.0)):
            output = torch.tensor([0.5, raw], dtype=torch.float64).view(1, 2, 1, 1)
            nll = -likelihood(output).log_prob(output[:, :1]).item()
            assert nll == pytest.approx(log_sigma + 0.5 * math.log(2 * math.pi), abs=1e-5)


class TestLaplace(SquashedContract):
    config = ModelConfig(likelihood="laplace")
    sigma2 = 1.0
    interval = (-40.0, 40.0)

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        return log_prob_of(Laplace(output, math.sqrt(0.5)), images)

    def reference_mean(self, output: Tensor) -> Tensor:
        return output

    def test_the_scale_that_fits_best_is_the_mean_absolute_error(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        optimiser = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value: Tensor = -likelihood(output).log_prob(images).mean()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        for _ in range(5):
            optimiser.step(loss)  # type: ignore[no-untyped-call]
        mean_absolute_error = (images - output).abs().mean().item()
        assert likelihood.sigma2 == pytest.approx(2 * mean_absolute_error**2, rel=1e-5)


class BernoulliContract(UnitIntervalContract):
    """What holds for the Bernoulli and for the cross-entropy that amounts to it."""

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        return log_prob_of(Bernoulli(logits=output), images)

    def reference_mean(self, output: Tensor) -> Tensor:
        return 1 / (1 + torch.exp(-output))

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


class TestBernoulli(BernoulliContract):
    config = ModelConfig(likelihood="bernoulli")


class TestMse(GaussianContract):
    config = ModelConfig(likelihood="mse")
    sigma2 = 0.5

    def test_its_gradient_is_that_of_the_squared_error_without_the_half(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        ours, theirs = (output.clone().requires_grad_() for _ in range(2))
        likelihood(ours).costs(images)[0].sum().backward()
        mse_loss(theirs, images, reduction="sum").backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(ours.grad, theirs.grad)

    def test_its_nll_is_that_of_a_gaussian_of_variance_one_half(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        gaussian = likelihood_of(ModelConfig(likelihood="gaussian", sigma2=0.5)).double()
        assert_close(likelihood(output).log_prob(images), gaussian(output).log_prob(images))


class TestBce(BernoulliContract):
    config = ModelConfig(likelihood="bce")

    def test_its_gradient_is_that_of_the_cross_entropy_on_any_grey_levels(
        self, likelihood: Likelihood, output: Tensor
    ) -> None:
        grey = torch.rand(output.shape, generator=torch.Generator().manual_seed(2)).double()
        ours, theirs = (output.clone().requires_grad_() for _ in range(2))
        likelihood(ours).costs(grey)[0].sum().backward()
        written = binary_cross_entropy(torch.sigmoid(theirs), grey, reduction="sum")
        written.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(ours.grad, theirs.grad)

    def test_its_floor_on_a_grey_image_is_the_entropy_of_the_pixels(
        self, likelihood: Likelihood
    ) -> None:
        """No decoder can do better, not even one that knows the image: it is no likelihood."""
        grey = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64).view(1, 1, 1, 3)
        at_best, _ = likelihood(torch.logit(grey)).costs(grey)
        entropy = -(grey * grey.log() + (1 - grey) * (1 - grey).log()).sum().item()
        assert at_best.item() == pytest.approx(entropy)
        for shift in (-0.1, 0.1):
            assert likelihood(torch.logit(grey) + shift).costs(grey)[0].item() > entropy


@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0, 80.0])
def test_the_cross_entropy_is_as_exact_as_torchs_own(spread: float) -> None:
    """Against float64; ours takes a logarithm of 1 + e^-|l| where torch's takes a log1p."""
    generator = torch.Generator().manual_seed(0)
    shape = (50, 1, 28, 28)
    logits = spread * torch.randn(shape, generator=generator)
    images = torch.rand(shape, generator=generator)
    exact = binary_cross_entropy_with_logits(logits.double(), images.double(), reduction="none")
    exact = exact.flatten(1).sum(1)
    theirs = binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)
    ours, error = BernoulliPixels(logits).costs(images)
    torch.testing.assert_close(ours.double(), exact, rtol=3e-7, atol=0.0)
    assert (ours - exact).abs().max() < 2 * (theirs - exact).abs().max()
    expected = (torch.sigmoid(logits.double()) - images).square().flatten(1).sum(1)
    torch.testing.assert_close(error.double(), expected, rtol=1e-6, atol=0.0)
