"""Suggested ranges of β against searches through the closed forms, and against minimisation."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize_scalar

from spectra import GOLDEN, LATENTS, SPECTRA
from studies.beta_range import SETTLED, BetaRange, suggest_range
from studies.linear_vae import LinearVae, linear_vae, linear_vae_objective

SIGMA2 = st.one_of(st.none(), st.floats(0.05, 2))


def trained(beta: float, sigma2: float | None, latents: int) -> LinearVae:
    """The linear VAE on the golden spectrum; a learned σ² is found by minimising the objective."""
    if sigma2 is not None:
        return linear_vae(GOLDEN, beta * sigma2, latents)

    def objective(log_sigma2: float) -> float:
        variance = math.exp(log_sigma2)
        return linear_vae_objective(GOLDEN, beta=beta, sigma2=variance, latents=latents)

    found = minimize_scalar(objective, bounds=(-12, 3), method="bounded", options={"xatol": 1e-10})
    return linear_vae(GOLDEN, beta * math.exp(found.x), latents)


def least(sigma2: float | None, latents: int, condition: str) -> float:
    """The least β of a fine grid at which so many latents or fewer are left."""
    wanted = {"first death": latents - 1, "collapse": 0}[condition]
    grid = np.geomspace(0.02, 100, 4000) if sigma2 else np.geomspace(1.001, 4, 400)
    return float(next(beta for beta in grid if trained(beta, sigma2, latents).active <= wanted))


@pytest.mark.parametrize("sigma2", [0.1, 0.5, None])
@pytest.mark.parametrize("latents", [2, 5])
def test_deaths_and_collapse_are_where_a_search_finds_them(
    sigma2: float | None, latents: int
) -> None:
    found = suggest_range(GOLDEN, sigma2=sigma2, rate_nats=5.0, latents=latents)
    assert_allclose(found.first_death, least(sigma2, latents, "first death"), rtol=5e-3)
    assert_allclose(found.collapse, least(sigma2, latents, "collapse"), rtol=5e-3)
    assert found.high == found.collapse


@pytest.mark.parametrize("sigma2", [0.1, 0.5, None])
@pytest.mark.parametrize(("latents", "rate"), [(7, 3.0), (7, 6.0), (5, 5.0)])
def test_the_low_end_is_where_a_search_finds_the_wanted_rate(
    sigma2: float | None, latents: int, rate: float
) -> None:
    found = suggest_range(GOLDEN, sigma2=sigma2, rate_nats=rate, latents=latents)
    low = brentq(
        lambda beta: trained(beta, sigma2, latents).rate_nats - rate, found.low * 0.9, found.high
    )
    assert_allclose(found.low, low, rtol=1e-5)
    assert found.latents == trained(found.low, sigma2, latents).active


def test_the_latents_of_the_range_are_those_that_hold_the_rate() -> None:
    """More than these would stay switched off in all of the range."""
    found = suggest_range(GOLDEN, sigma2=0.1, rate_nats=3.0)
    at_low = linear_vae(GOLDEN, found.low * 0.1, 8)
    assert_allclose(at_low.rate_nats, 3.0)
    assert found.latents == at_low.active == 5
    assert found.first_death == 0.8 / 0.1
    assert suggest_range(GOLDEN, sigma2=0.1, rate_nats=3.0, latents=5).low == found.low
    assert suggest_range(GOLDEN, sigma2=0.1, rate_nats=3.0, latents=8).latents == 5


@pytest.mark.parametrize("latents", [1, 2, 3])
def test_with_few_latents_the_range_ends_where_further_bits_would_not_help(latents: int) -> None:
    """A rate of 50 nats would need β = 1e-21 with two latents, for an error that has settled."""
    found = suggest_range(GOLDEN, sigma2=1.0, rate_nats=50.0, latents=latents)
    lost = sum(sorted(GOLDEN)[:-latents])
    error = linear_vae(GOLDEN, found.low, latents).distortion_se
    assert_allclose(error - lost, SETTLED * sum(GOLDEN))
    assert found.latents == latents


@given(SPECTRA, SIGMA2, st.floats(0.1, 40), st.one_of(st.none(), LATENTS))
def test_a_range_runs_from_a_coded_end_to_the_collapsed_one(
    spectrum: list[float], sigma2: float | None, rate: float, latents: int | None
) -> None:
    found = suggest_range(spectrum, sigma2=sigma2, rate_nats=rate, latents=latents)
    assert 0 < found.low <= found.high == found.collapse
    assert found.first_death <= found.collapse
    assert 1 <= found.latents <= min(latents or len(spectrum), len(spectrum))


@given(SPECTRA, SIGMA2, st.floats(0.1, 5), st.floats(0.1, 10))
def test_a_range_of_scaled_data_is_the_same_where_the_variance_scales_too(
    spectrum: list[float], sigma2: float | None, rate: float, scale: float
) -> None:
    one = suggest_range(spectrum, sigma2=sigma2, rate_nats=rate)
    scaled = suggest_range(
        [scale * value for value in spectrum],
        sigma2=None if sigma2 is None else scale * sigma2,
        rate_nats=rate,
    )
    assume(one.latents == scaled.latents)  # equal eigenvalues can round apart
    assert_allclose(ends(scaled), ends(one), rtol=1e-9)


def ends(found: BetaRange) -> list[float]:
    return [found.low, found.high, found.first_death]


def test_directions_without_variance_count_as_pixels_and_not_as_latents() -> None:
    found = suggest_range([4.0, 2.0, 0.0, 0.0], sigma2=None, rate_nats=1.0, latents=4)
    assert found.latents == 2
    assert_allclose(found.collapse, 4.0 / 1.5)


def test_what_has_no_range_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Constant data have no rate"):
        suggest_range([0.0, 0.0], sigma2=1.0, rate_nats=1.0)
    with pytest.raises(ValueError, match="`0 < rate_nats < inf` must hold, but got rate_nats=0"):
        suggest_range(GOLDEN, sigma2=1.0, rate_nats=0.0)
    with pytest.raises(ValueError, match="`latents >= 1` must hold, but got latents=0"):
        suggest_range(GOLDEN, sigma2=1.0, rate_nats=1.0, latents=0)
    with pytest.raises(ValueError, match="`0 < sigma2 < inf` must hold, but got sigma2=0"):
        suggest_range(GOLDEN, sigma2=0.0, rate_nats=1.0)
