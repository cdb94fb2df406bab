"""What holds for every likelihood: its tests inherit these and bring an independent statement."""

import math
from abc import ABC, abstractmethod

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import Distribution

from vae_models.config import LIKELIHOODS, ModelConfig
from vae_models.likelihood import Likelihood
from vae_models.likelihood_kinds import (
    AMOUNTS_TO,
    LIKELIHOOD_MEASURES,
    UNIT_INTERVAL_LIKELIHOODS,
)
from vae_models.likelihoods import likelihood_of
from vae_models.vae import build_vae

CHANNELS = 2
IMAGES = {"black": 0.0, "white": 1.0, "grey": 100 / 255}
EXTREMES = (0.0, 60.0, -60.0, 1e4, -1e4)


def assert_close(ours: Tensor | None, theirs: Tensor | None) -> None:
    """To the precision of ln sigma, which a model makes in float32."""
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def log_prob_of(distribution: Distribution, images: Tensor) -> Tensor:
    """The log-probability of every pixel by torch.distributions."""
    return distribution.log_prob(images)


def softly_clamped(raw: Tensor, low: float, high: float) -> Tensor:
    """``low + ln(1 + e^(y - low))`` of ``y = high - ln(1 + e^(high - raw))``, written out."""
    bent = high - torch.logaddexp(torch.zeros_like(raw), high - raw)
    return low + torch.logaddexp(torch.zeros_like(raw), bent - low)


class LikelihoodContract(ABC):
    """What holds for every likelihood; a new one inherits these tests."""

    config: ModelConfig
    sigma2: float | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    """Where the density is integrated; of no matter for discrete pixels."""
    mean_tolerance: float = 1e-6

    @pytest.fixture
    def likelihood(self) -> Likelihood:
        return likelihood_of(self.config).double()

    @pytest.fixture
    def output(self, likelihood: Likelihood) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        shape = (5, CHANNELS * likelihood.outputs_per_pixel, 3, 4)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    @pytest.fixture
    def images(self, likelihood: Likelihood) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        images = torch.rand((5, CHANNELS, 3, 4), generator=generator, dtype=torch.float64)
        images[0, :, 0, 0], images[1, :, 0, 0] = 0.0, 1.0
        steps = (likelihood.levels or 256) - 1
        return (images * steps).round() / steps

    @abstractmethod
    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        """ln p of every pixel, stated independently, [batch, channel, height, width]."""

    @abstractmethod
    def reference_mean(self, output: Tensor) -> Tensor:
        """E[x|z] of every pixel, stated independently."""

    def test_the_density_is_normalised(self, likelihood: Likelihood) -> None:
        for seed in range(3):
            total = self._expectation(likelihood, _one_pixel(likelihood, seed), power=0)
            assert total == pytest.approx(1.0, abs=1e-6)

    def test_the_mean_is_the_expectation_under_the_density(self, likelihood: Likelihood) -> None:
        for seed in range(3):
            output = _one_pixel(likelihood, seed)
            expected = self._expectation(likelihood, output, power=1)
            assert likelihood(output).mean.item() == pytest.approx(
                expected, abs=self.mean_tolerance
            )

    def test_log_prob_is_that_of_the_reference(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        expected = self.reference_log_prob(output, images).sum((1, 2, 3))
        assert_close(likelihood(output).log_prob(images), expected)

    def test_the_mean_is_that_of_the_reference(
        self, likelihood: Likelihood, output: Tensor
    ) -> None:
        torch.testing.assert_close(
            likelihood(output).mean, self.reference_mean(output), rtol=0, atol=self.mean_tolerance
        )

    def test_the_costs_are_minus_log_prob_and_the_error_of_the_mean(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        distribution = likelihood(output)
        nll, error = distribution.costs(images)
        torch.testing.assert_close(nll, -distribution.log_prob(images))
        expected = (images - distribution.mean).square().sum((1, 2, 3))
        torch.testing.assert_close(error, expected)
        torch.testing.assert_close(distribution.squared_error(images), expected)

    def test_the_nll_carries_the_gradient_of_the_reference(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        ours, theirs = (output.clone().requires_grad_() for _ in range(2))
        likelihood(ours).costs(images)[0].sum().backward()
        expected = -self.reference_log_prob(theirs, images).sum()
        expected.backward()  # type: ignore[no-untyped-call]
        assert_close(ours.grad, theirs.grad)

    def test_float32_gives_what_float64_gives(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        single = likelihood_of(self.config)
        expected = likelihood(output)
        ours = single(output.float())
        nll, error = ours.costs(images.float())
        assert nll.dtype == error.dtype == ours.mean.dtype == torch.float32
        torch.testing.assert_close(nll.double(), expected.costs(images)[0], rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(ours.mean.double(), expected.mean, rtol=0, atol=5e-6)

    def test_it_says_its_variance_or_that_it_has_none(self, likelihood: Likelihood) -> None:
        if self.sigma2 is None:
            assert likelihood.sigma2 is None
        else:
            assert likelihood.sigma2 == pytest.approx(self.sigma2, rel=1e-6)

    @pytest.mark.parametrize("image", IMAGES)
    @pytest.mark.parametrize("size", [(1, 1, 1), (3, CHANNELS, 4)], ids=["one pixel", "more"])
    @pytest.mark.parametrize("batch", [1, 4])
    def test_extreme_outputs_and_constant_images_give_finite_numbers_and_gradients(
        self, image: str, size: tuple[int, int, int], batch: int
    ) -> None:
        likelihood = likelihood_of(self.config)
        height, channels, width = size
        images = torch.full((batch, channels, height, width), IMAGES[image])
        for outputs in _extreme_outputs(likelihood.outputs_per_pixel):
            output = outputs.repeat_interleave(channels).view(1, -1, 1, 1)
            output = output.repeat(batch, 1, height, width).requires_grad_()
            _assert_finite(likelihood, output, images)

    def test_observing_images_changes_nothing_outside_training(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        likelihood.eval()
        before = likelihood(output).log_prob(images)
        observed = likelihood.observe(output, images).log_prob(images)
        torch.testing.assert_close(observed, before, rtol=0, atol=0)
        torch.testing.assert_close(likelihood(output).log_prob(images), before, rtol=0, atol=0)

    def test_the_same_distribution_comes_back_from_its_state(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        likelihood.observe(output, images)
        with torch.no_grad():
            for parameter in likelihood.parameters():
                parameter.add_(0.3)
        other = likelihood_of(self.config).double()
        other.load_state_dict(likelihood.state_dict())
        torch.testing.assert_close(
            other(output).log_prob(images), likelihood(output).log_prob(images), rtol=0, atol=0
        )
        assert other.sigma2 == likelihood.sigma2

    def test_its_kind_is_the_one_of_the_tables(self, likelihood: Likelihood) -> None:
        name = self.config.likelihood
        assert (likelihood.levels is None) == LIKELIHOOD_MEASURES[name].endswith("density")
        assert likelihood.probabilistic == (name not in AMOUNTS_TO)
        assert likelihood.amounts_to == AMOUNTS_TO.get(name)

    def test_a_vae_of_it_has_a_loss_and_gradients_on_images_of_one_pixel(self) -> None:
        config = ModelConfig(
            hidden=(4,), latent_dim=1, likelihood=self.config.likelihood, sigma2=0.3
        )
        model = build_vae(config, (1, 1, 1), seed=0)
        terms = model(torch.ones((1, 1, 1, 1)), torch.zeros((1, 1)))
        loss = (terms.distortion_nll_nats + terms.rate_nats).sum()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert math.isfinite(loss.item())
        assert all(g is not None and bool(g.isfinite().all()) for g in gradients)

    def _expectation(self, likelihood: Likelihood, output: Tensor, power: int) -> float:
        """E[x^power] of a one-pixel image by a sum over the levels or an adaptive integral."""

        def integrand(value: float) -> float:
            image = torch.full((1, 1, 1, 1), value, dtype=torch.float64)
            density: float = likelihood(output).log_prob(image).exp().item()
            return density * value**power

        if likelihood.levels is not None:
            steps = likelihood.levels - 1
            return sum(integrand(level / steps) for level in range(likelihood.levels))
        low, high = self.interval
        peak = min(max(likelihood(output).mean.item(), low + 1e-9), high - 1e-9)
        total: float = quad(
            integrand, low, high, points=[peak], epsabs=1e-9, epsrel=1e-9, limit=400
        )[0]
        return total


class SquashedContract(LikelihoodContract):
    """What holds for the likelihoods whose location can go through a sigmoid."""

    def test_a_sigmoid_squashes_the_location_and_nothing_else(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        fields = {"sigma2": self.config.sigma2, "likelihood": self.config.likelihood}
        squashing = likelihood_of(
            ModelConfig(**fields, output_activation="sigmoid")  # type: ignore[arg-type]
        ).double()
        by_hand = output.clone()
        by_hand[:, :CHANNELS] = 1 / (1 + torch.exp(-output[:, :CHANNELS]))
        torch.testing.assert_close(
            squashing(output).log_prob(images), likelihood(by_hand).log_prob(images)
        )
        torch.testing.assert_close(squashing(output).mean, by_hand[:, :CHANNELS])


class UnitIntervalContract(LikelihoodContract):
    """What holds for the likelihoods of values between 0 and 1."""

    def test_it_is_listed_as_one_of_the_unit_interval(self) -> None:
        assert self.config.likelihood in UNIT_INTERVAL_LIKELIHOODS
        assert self.config.likelihood in LIKELIHOODS

    def test_its_mean_is_between_black_and_white_up_to_half_a_level(
        self, likelihood: Likelihood, output: Tensor
    ) -> None:
        for factor in (1.0, 60.0, 1e4):
            mean = likelihood(factor * output).mean
            assert mean.min() >= -1 / 510
            assert mean.max() <= 1 + 1 / 510


def _one_pixel(likelihood: Likelihood, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, likelihood.outputs_per_pixel, 1, 1)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _extreme_outputs(outputs_per_pixel: int) -> list[Tensor]:
    """Every pair of extremes for the first and the last number, alternating between."""
    alternating = torch.arange(outputs_per_pixel) % 2 == 1
    return [
        torch.where(alternating, other, one)
        for one in torch.tensor(EXTREMES)
        for other in torch.tensor(EXTREMES if outputs_per_pixel > 1 else (0.0,))
    ]


def _assert_finite(likelihood: Likelihood, output: Tensor, images: Tensor) -> None:
    nll, error = likelihood.observe(output, images).costs(images)
    assert nll.isfinite().all()
    assert error.isfinite().all()
    likelihood.zero_grad()
    nll.mean().backward()  # type: ignore[no-untyped-call]
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite() for p in likelihood.parameters())
    assert likelihood(output).mean.isfinite().all()
