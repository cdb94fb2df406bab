"""The distortions of rate zero against SciPy and plain sums."""

import numpy as np
import pytest
from scipy.stats import bernoulli

from vae_models import zero_rate

RANDOM = np.random.default_rng(0)


def test_the_squared_error_to_a_mean_is_the_plain_sum() -> None:
    heldout = RANDOM.integers(0, 256, (50, 3, 2, 2), dtype=np.uint8)
    mean = RANDOM.random(12)
    plain = np.mean(((heldout.reshape(50, 12) / 255 - mean) ** 2).sum(axis=1))
    assert zero_rate.squared_error(mean, heldout, 1 / 255) == pytest.approx(plain, rel=1e-12)


def test_the_nats_of_binary_pixels_are_scipy_s() -> None:
    heldout = RANDOM.integers(0, 2, (40, 1, 3, 3), dtype=np.uint8)
    mean = RANDOM.uniform(0.1, 0.9, 9)
    expected = -bernoulli.logpmf(heldout.reshape(40, 9), mean).sum(axis=1).mean()
    assert zero_rate.bernoulli_nats(mean, 40, heldout, 1.0) == pytest.approx(expected, rel=1e-12)


def test_a_pixel_never_seen_white_costs_the_log_of_twice_the_examples() -> None:
    heldout = np.ones((1, 1, 1, 1), np.uint8)
    assert zero_rate.bernoulli_nats(np.zeros(1), 500, heldout, 1.0) == pytest.approx(np.log(1000))
