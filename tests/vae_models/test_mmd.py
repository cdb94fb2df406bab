"""The maximum mean discrepancy against its definition, and against integrals."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from vae_models.mmd import SCALES, imq_kernel, squared_mmd


def kernel(one: Sequence[float], other: Sequence[float], width: float) -> float:
    distance = sum((x - y) ** 2 for x, y in zip(one, other, strict=True))
    return sum(scale * width / (scale * width + distance) for scale in SCALES)


def expected_kernel(shift: float, width: float) -> float:
    """E k(x, y) for x ~ N(0, 1) and y ~ N(shift, 1): the difference is N(shift, 2)."""

    def integrand(difference: float) -> float:
        density = math.exp(-((difference - shift) ** 2) / 4) / math.sqrt(4 * math.pi)
        return density * kernel([difference], [0.0], width)

    return float(quad(integrand, shift - 15, shift + 15, epsabs=1e-12)[0])


def repeats(shift: float, width: float, count: int = 1500, draws: int = 20) -> Tensor:
    """Estimates from so many pairs of samples of N(0, 1) and N(shift, 1)."""
    generator = torch.Generator().manual_seed(3)
    samples = torch.randn((count, 2, draws, 1), generator=generator, dtype=torch.float64)
    return torch.stack([squared_mmd(ones, others + shift, width) for ones, others in samples])


@pytest.mark.parametrize("width", [0.5, 8.0])
def test_it_is_the_double_loop_over_pairs(width: float) -> None:
    generator = torch.Generator().manual_seed(0)
    ones, others = torch.randn((2, 5, 4), generator=generator, dtype=torch.float64)
    x, y, total, count = ones.tolist(), others.tolist(), 0.0, 5
    for i in range(count):
        for j in range(count):
            if i != j:
                total += (kernel(x[i], x[j], width) + kernel(y[i], y[j], width)) / (
                    count * (count - 1)
                )
            total -= 2 * kernel(x[i], y[j], width) / count**2
    assert squared_mmd(ones, others, width).item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
def test_its_mean_is_the_squared_distance_of_the_two_sources(shift: float) -> None:
    """Zero for one source; within four standard errors."""
    found = repeats(shift, width=2.0).numpy()
    expected = 2 * (expected_kernel(0.0, 2.0) - expected_kernel(shift, 2.0))
    assert expected >= 0
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / len(found) ** 0.5)


def test_one_estimate_of_one_source_can_be_negative() -> None:
    assert repeats(0.0, width=2.0, count=50).min().item() < 0


def test_the_kernel_of_a_point_with_itself_is_one_for_every_scale() -> None:
    points = torch.randn((4, 3), generator=torch.Generator().manual_seed(0))
    assert imq_kernel(points, points, 6.0).diagonal().tolist() == [len(SCALES)] * 4


def test_a_short_distance_far_from_the_origin_keeps_its_digits() -> None:
    ones, others = torch.tensor([[1e4, 1e4]]), torch.tensor([[1e4 + 1, 1e4]])
    expected = kernel([0.0, 0.0], [1.0, 0.0], 4.0)
    assert imq_kernel(ones, others, 4.0).item() == pytest.approx(expected, rel=1e-6)


def test_coinciding_points_have_a_finite_gradient() -> None:
    points = torch.zeros((3, 2), requires_grad=True)
    (gradient,) = torch.autograd.grad(squared_mmd(points, torch.ones(3, 2), 4.0), points)
    assert bool(gradient.isfinite().all())
    assert bool((gradient < 0).all())
