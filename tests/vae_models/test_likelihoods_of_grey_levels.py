"""The likelihoods of grey levels: continuous Bernoulli, beta, discretised logistic, categorical."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import betaln
from scipy.stats import logistic
from torch import Tensor
from torch.distributions import Beta, Categorical, TransformedDistribution
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions.transforms import AffineTransform
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus

from likelihood_contract import UnitIntervalContract, assert_close, log_prob_of, softly_clamped
from vae_models.config import ModelConfig
from vae_models.likelihood import Likelihood
from vae_models.likelihoods import likelihood_of

LEVELS = torch.arange(256, dtype=torch.float64) / 255


def _nll_of_pixels(likelihood: Likelihood, output: Tensor, values: Tensor) -> Tensor:
    """-ln p of many values of one pixel, each as an image of its own; `output` holds k numbers."""
    batch = output.view(1, -1, 1, 1).expand(len(values), -1, 1, 1)
    nll: Tensor = likelihood(batch).costs(values.view(-1, 1, 1, 1))[0]
    return nll


def _moment_of(x: float, power: int, slope: float, top: float) -> float:
    return x**power * math.exp(slope * x - top)


class TestContinuousBernoulli(UnitIntervalContract):
    config = ModelConfig(likelihood="continuous_bernoulli")

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        return log_prob_of(TorchContinuousBernoulli(logits=output), images)

    def reference_mean(self, output: Tensor) -> Tensor:
        return TorchContinuousBernoulli(logits=output).mean

    @pytest.mark.parametrize(
        "logit", [0.0, 1e-12, 1e-6, 1e-3, 0.1, 0.2499, 0.2501, 1.0, 7.0, 30.0, 60.0]
    )
    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_its_normaliser_and_mean_are_integrals_at_every_logit(
        self, likelihood: Likelihood, logit: float, sign: float
    ) -> None:
        """∫ e^(lx) dx and ∫ x e^(lx) dx / ∫ e^(lx) dx, with the largest value taken out."""
        slope, top = sign * logit, max(sign * logit, 0.0)
        corner = 0.0 if sign < 0 else 1.0
        points = [abs(corner - step) for step in (0.01, 0.1, 0.5)]
        total, first = (
            quad(_moment_of, 0, 1, args=(power, slope, top), points=points, epsabs=1e-13)[0]
            for power in (0, 1)
        )
        output = torch.tensor([slope], dtype=torch.float64, requires_grad=True)
        nll = _nll_of_pixels(likelihood, output, torch.tensor([0.3], dtype=torch.float64))
        nll.sum().backward()  # type: ignore[no-untyped-call]
        assert nll.item() == pytest.approx(math.log(total) + top - 0.3 * slope, abs=1e-12)
        mean = likelihood(output.detach().view(1, 1, 1, 1)).mean.item()
        assert mean == pytest.approx(first / total, abs=1e-12)
        assert output.grad is not None
        assert output.grad.item() == pytest.approx(first / total - 0.3, abs=1e-12)

    def test_in_float32_nothing_cancels_near_one_half(self) -> None:
        likelihood = likelihood_of(self.config)
        logits = torch.linspace(-0.5, 0.5, 4001)
        logits[0:4] = torch.tensor([0.0, 1e-30, -1e-7, 1e-4])
        ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
        image = torch.full((4001, 1, 1, 1), 0.4)
        for output, grey in ((ours, image), (theirs, image.double())):
            likelihood(output.view(-1, 1, 1, 1)).costs(grey)[0].sum().backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=0, atol=1e-6)
        exact = likelihood(theirs.view(-1, 1, 1, 1)).mean
        mean = likelihood(ours.view(-1, 1, 1, 1)).mean
        torch.testing.assert_close(mean.double(), exact, rtol=0, atol=1e-6)

    def test_the_mean_has_a_finite_gradient_at_any_logit(self, likelihood: Likelihood) -> None:
        output = torch.tensor([0.0, 0.1, 60.0, -1e4, 1e4], dtype=torch.float64)
        output = output.view(-1, 1, 1, 1).requires_grad_()
        likelihood(output).mean.sum().backward()
        assert output.grad is not None
        assert output.grad.flatten()[0].item() == pytest.approx(1 / 12)
        assert output.grad.isfinite().all()

    def test_it_is_the_cross_entropy_less_its_normaliser_of_at_least_two(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        """-ln p = BCE - Σ ln C with C = 2 artanh(1 - 2 lambda)/(1 - 2 lambda) >= 2."""
        entropy = binary_cross_entropy_with_logits(output, images, reduction="none")
        probability = torch.sigmoid(output)
        normaliser = 2 * torch.atanh(1 - 2 * probability) / (1 - 2 * probability)
        nll, _ = likelihood(output).costs(images)
        torch.testing.assert_close(nll, (entropy - normaliser.log()).sum((1, 2, 3)))
        pixels = images[0].numel()
        assert (nll <= entropy.sum((1, 2, 3)) - pixels * math.log(2)).all()

    def test_its_mean_is_not_lambda(self, likelihood: Likelihood) -> None:
        logit = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
        probability = 1 / (1 + math.exp(-2.0))
        expected = probability / (2 * probability - 1) + 1 / (2 * math.atanh(1 - 2 * probability))
        assert likelihood(logit).mean.item() == pytest.approx(expected)
        assert expected < probability - 0.1


class TestBeta(UnitIntervalContract):
    config = ModelConfig(likelihood="beta")
    interval = (-1 / 510, 1 + 1 / 510)

    def _pixels(self, output: Tensor) -> TransformedDistribution:
        channels = output.shape[1] // 2
        first, second = (1e-3 + softplus(part) for part in torch.split(output, channels, dim=1))
        unsqueeze = AffineTransform(-0.5 / 255, 256 / 255)
        return TransformedDistribution(Beta(first, second), unsqueeze, validate_args=False)

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        return log_prob_of(self._pixels(output), images)

    def reference_mean(self, output: Tensor) -> Tensor:
        return (256 * self._pixels(output).base_dist.mean - 0.5) / 255

    def test_black_and_white_have_a_finite_density_at_every_shape(
        self, likelihood: Likelihood
    ) -> None:
        for raw in ([-50.0, -50.0], [0.0, 3.0], [1e5, 1e5], [-50.0, 1e5]):
            values = torch.tensor([0.0, 1.0], dtype=torch.float64)
            output = torch.tensor(raw, dtype=torch.float64)
            assert _nll_of_pixels(likelihood, output, values).isfinite().all()

    def test_shapes_of_thousands_keep_their_digits_in_float32(self) -> None:
        """Where log-gammas of 1e5 are subtracted from each other."""
        likelihood = likelihood_of(self.config)
        first, second = 9000.0, 6000.0
        values = torch.tensor([0.59, 0.6, 0.61])
        nll = _nll_of_pixels(likelihood, torch.tensor([first, second]), values)
        squeezed = (255 * values.double().numpy() + 0.5) / 256
        shapes = np.array([first, second]) + 1e-3
        kernel = (shapes - 1) @ np.log([squeezed, 1 - squeezed])
        expected = betaln(*shapes) - kernel - math.log(255 / 256)
        assert nll.tolist() == pytest.approx(expected.tolist(), abs=1e-3)

    def test_its_shapes_are_bounded_so_that_a_constant_image_has_a_least_nll(
        self, likelihood: Likelihood
    ) -> None:
        value = torch.tensor([0.5], dtype=torch.float64)
        nll = [
            _nll_of_pixels(likelihood, torch.full((2,), raw, dtype=torch.float64), value).item()
            for raw in (1e3, 1e4, 1e5, 1e6)
        ]
        assert nll == sorted(nll, reverse=True)
        normal = -0.5 * math.log(0.25 / 4e4) - 0.5 * math.log(2 * math.pi)
        assert nll[-1] == pytest.approx(-normal, abs=0.01)
        assert nll[-1] == nll[-2]


class TestDiscretizedLogistic(UnitIntervalContract):
    config = ModelConfig(likelihood="discretized_logistic")
    mean_tolerance = 1e-4

    def _cells(self, output: Tensor) -> Tensor:
        """P(k) of all 256 levels as differences of distribution functions, [..., 256]."""
        channels = output.shape[1] // 2
        location, raw = output[:, :channels], output[:, channels:]
        scale = softly_clamped(raw, math.log(1 / 1020), 6.0).exp()
        edges = (LEVELS[:-1] + LEVELS[1:]) / 2
        inner = torch.sigmoid((edges - location.unsqueeze(-1)) / scale.unsqueeze(-1))
        ends = torch.zeros_like(inner[..., :1]), torch.ones_like(inner[..., :1])
        return torch.cat((ends[0], inner, ends[1]), dim=-1).diff(dim=-1)

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        level = (255 * images).round().long().unsqueeze(-1)
        return self._cells(output).gather(-1, level).squeeze(-1).log()

    def reference_mean(self, output: Tensor) -> Tensor:
        return self._cells(output) @ LEVELS

    @pytest.mark.parametrize(
        "location", [-0.5, -0.001, 0.0, 1 / 510, 0.3331, 0.5, 0.9993, 0.9999, 1.2]
    )
    def test_its_mean_is_that_over_the_levels_at_every_scale(
        self, likelihood: Likelihood, location: float
    ) -> None:
        """At sharp edges the clipped logistic's mean alone would be 2e-4 off."""
        for raw in (-1e3, -8.0, -6.0, -4.0, -2.0, 0.0, 4.0, 1e3):
            output = torch.tensor([location, raw], dtype=torch.float64)
            probability = (-_nll_of_pixels(likelihood, output, LEVELS)).exp()
            mean = likelihood(output.view(1, 2, 1, 1)).mean.item()
            assert probability.sum().item() == pytest.approx(1.0, abs=1e-9)
            assert mean == pytest.approx((probability @ LEVELS).item(), abs=1e-4)

    def test_its_mean_is_that_of_the_clipped_logistic_up_to_the_midpoint_rules_error(
        self, likelihood: Likelihood
    ) -> None:
        """An integral of the survival function; the rule is off by at most h²/(96 s)."""
        for location, raw in ((0.3, -3.0), (-0.2, -1.0), (1.1, -2.0), (0.5, 2.0)):
            output = torch.tensor([location, raw], dtype=torch.float64)
            scale = softly_clamped(output[1], math.log(1 / 1020), 6.0).exp().item()
            expected = quad(logistic.sf, 0, 1, args=(location, scale), epsabs=1e-13)[0]
            mean = likelihood(output.view(1, 2, 1, 1)).mean.item()
            assert mean == pytest.approx(expected, abs=1 / (255**2 * 96 * scale))

    def test_a_level_far_from_the_location_keeps_its_probability_and_its_gradient(self) -> None:
        """Where both distribution functions are 1 in any float: ln P falls by 1/s per unit."""
        likelihood = likelihood_of(self.config)
        output = torch.tensor([-5.0, -1e3], requires_grad=True)
        nll = _nll_of_pixels(likelihood, output, torch.tensor([128 / 255]))
        nll.sum().backward()  # type: ignore[no-untyped-call]
        nearest = 128 / 255 - 1 / 510
        expected = 1020 * (nearest + 5) - math.log1p(-math.exp(-4))
        assert nll.item() == pytest.approx(expected, rel=1e-5)
        assert output.grad is not None
        assert output.grad[0].item() == pytest.approx(-1020, rel=1e-5)

    def test_values_between_levels_count_as_the_nearer(self, likelihood: Likelihood) -> None:
        output = torch.tensor([0.4, -3.0], dtype=torch.float64)
        between = torch.tensor([99.6, 100.0, 100.4], dtype=torch.float64) / 255
        nll = _nll_of_pixels(likelihood, output, between)
        assert nll.tolist() == [nll[1].item()] * 3

    def test_a_broad_logistic_gives_a_narrow_range_of_levels_the_same_probability(
        self, likelihood: Likelihood
    ) -> None:
        """At s = e^2 the density is nearly flat: P = 1/(4 s 255)."""
        output = torch.tensor([0.5, 2.0], dtype=torch.float64)
        scale = softly_clamped(output[1], math.log(1 / 1020), 6.0).exp().item()
        nll = _nll_of_pixels(likelihood, output, LEVELS[1:-1])
        assert nll.tolist() == pytest.approx([math.log(4 * scale * 255)] * 254, abs=2e-3)


class TestCategorical256(UnitIntervalContract):
    config = ModelConfig(likelihood="categorical256")

    def _pixels(self, output: Tensor) -> Categorical:
        """The first C channels are the logits of black, the last those of white."""
        channels = output.shape[1] // 256
        logits = torch.stack(torch.split(output, channels, dim=1), dim=-1)
        return Categorical(logits=logits, validate_args=False)

    def reference_log_prob(self, output: Tensor, images: Tensor) -> Tensor:
        return log_prob_of(self._pixels(output), (255 * images).round())

    def reference_mean(self, output: Tensor) -> Tensor:
        return self._pixels(output).probs @ LEVELS

    def test_equal_logits_cost_eight_bits_per_pixel(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        nll, _ = likelihood(torch.zeros_like(output)).costs(images)
        bits = nll / (images[0].numel() * math.log(2))
        assert bits.tolist() == pytest.approx([8.0] * len(images))

    def test_its_nll_is_the_cross_entropy_as_people_write_it(
        self, likelihood: Likelihood, output: Tensor, images: Tensor
    ) -> None:
        channels = images.shape[1]
        logits = output.view(len(output), 256, channels, *output.shape[2:])
        expected = cross_entropy(logits, (255 * images).round().long(), reduction="none")
        assert_close(likelihood(output).costs(images)[0], expected.sum((1, 2, 3)))
