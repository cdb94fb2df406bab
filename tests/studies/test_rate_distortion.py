"""Shannon's bound against brute force, bisection and numerical integration."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.optimize import brentq

from spectra import GOLDEN, LATENTS, LEVELS, SPECTRA, SPECTRA_WITH_ZEROS
from studies.fronts import hypervolume
from studies.linear_vae import linear_vae
from studies.rate_distortion import (
    active_count,
    area_under_curve,
    level_at_rate,
    shannon_curve,
    shannon_distortion,
    shannon_hypervolume,
    shannon_rate,
    spectrum_of,
    water_filling,
)


def filled_by_definition(spectrum: list[float], level: float) -> tuple[float, float]:
    """R and D of one water level, term by term."""
    rate = sum(0.5 * max(0.0, math.log(value / level)) for value in spectrum if value > 0)
    return rate, sum(min(value, level) for value in spectrum)


def level_by_bisection(spectrum: list[float], distortion: float) -> float:
    def excess(log_level: float) -> float:
        return filled_by_definition(spectrum, math.exp(log_level))[1] - distortion

    return math.exp(brentq(excess, math.log(1e-12), math.log(max(spectrum)), xtol=1e-14))


# --- The points of a spectrum ---------------------------------------------------------------------


def test_a_unit_dies_exactly_at_its_own_eigenvalue() -> None:
    assert [active_count(GOLDEN, value) for value in GOLDEN] == list(range(8))
    assert active_count(GOLDEN, 0.01) == 8
    assert active_count(GOLDEN, 0.01, latents=3) == 3


# --- Shannon's bound ------------------------------------------------------------------------------


@given(SPECTRA_WITH_ZEROS.filter(any), st.floats(1e-3, 0.999))
def test_the_bound_at_a_distortion_is_the_water_level_found_by_bisection(
    spectrum: list[float], share: float
) -> None:
    distortion = share * sum(spectrum)
    rate, _ = filled_by_definition(spectrum, level_by_bisection(spectrum, distortion))
    assert_allclose(shannon_rate(spectrum, distortion), rate, rtol=1e-7, atol=1e-9)


@given(SPECTRA_WITH_ZEROS.filter(any), st.floats(0, 12))
def test_rate_and_distortion_of_the_bound_undo_each_other(
    spectrum: list[float], rate: float
) -> None:
    distortion = shannon_distortion(spectrum, rate)
    assert_allclose(shannon_rate(spectrum, distortion), rate, rtol=1e-6, atol=1e-6)


@given(SPECTRA, LEVELS)
def test_the_slope_of_the_bound_is_minus_one_over_twice_the_level(
    spectrum: list[float], level: float
) -> None:
    assume(level < max(spectrum) * 0.99)
    assume(min(abs(level / value - 1) for value in spectrum) > 1e-4)
    D, step = water_filling(spectrum, level).distortion_se, level * 1e-5
    slope = (shannon_rate(spectrum, D + step) - shannon_rate(spectrum, D - step)) / (2 * step)
    assert_allclose(slope, -1 / (2 * level), rtol=1e-5)


@given(SPECTRA, st.floats(0.01, 0.99), st.data())
def test_no_other_split_of_the_distortion_over_the_directions_needs_less_rate(
    spectrum: list[float], share: float, data: st.DataObject
) -> None:
    """R(D) is the least Σ ½ ln⁺(λᵢ/Dᵢ) over all splits of D."""
    distortion = share * sum(spectrum)
    weights = data.draw(st.tuples(*[st.floats(0.01, 1) for _ in spectrum]))
    split = distortion * np.array(weights) / sum(weights)
    rate = 0.5 * np.maximum(0, np.log(np.array(spectrum) / split)).sum()
    assert shannon_rate(spectrum, distortion) <= rate + 1e-9


def test_the_ends_of_the_bound_are_no_rate_at_all_and_an_infinite_rate() -> None:
    total = sum(GOLDEN)
    assert_allclose(shannon_rate(GOLDEN, total), 0.0, atol=1e-15)
    assert shannon_rate(GOLDEN, total + 1) == 0.0
    assert shannon_rate(GOLDEN, 0.0) == math.inf
    assert_allclose(shannon_distortion(GOLDEN, 0.0), total)
    assert shannon_distortion(GOLDEN, math.inf) == 0.0


def test_constant_data_need_no_rate() -> None:
    assert shannon_rate([0.0, 0.0], 0.0) == 0.0
    assert shannon_distortion([0.0, 0.0], 0.0) == 0.0
    assert shannon_hypervolume([0.0], rate_reference=2.0, distortion_reference=3.0) == 6.0


def test_arrays_of_rates_and_distortions_give_arrays() -> None:
    rates = np.array([[0.0, 0.5], [3.0, 20.0]])
    distortions = shannon_distortion(GOLDEN, rates)
    assert distortions.shape == (2, 2)
    assert_allclose(shannon_rate(GOLDEN, distortions), rates, atol=1e-12)
    assert isinstance(shannon_distortion(GOLDEN, 1.0), float)


@given(SPECTRA, st.integers(2, 40), st.one_of(st.none(), LATENTS))
def test_a_drawn_curve_runs_from_the_collapsed_end_to_the_wanted_rate(
    spectrum: list[float], points: int, latents: int | None
) -> None:
    curve = shannon_curve(spectrum, max_rate_nats=4.0, points=points, latents=latents)
    assert len(curve.levels) == len(curve.rate_nats) == len(curve.distortion_se) == points
    assert_allclose(curve.rate_nats[[0, -1]], [0.0, 4.0], atol=1e-9)
    assert (np.diff(curve.rate_nats) >= 0).all()
    bound = shannon_rate(spectrum, curve.distortion_se)
    if latents is None:
        assert_allclose(curve.rate_nats, bound, atol=1e-9)
    else:
        assert (curve.rate_nats >= bound - 1e-9).all()


def test_a_curve_ends_by_default_where_one_percent_of_the_variance_is_left() -> None:
    assert_allclose(shannon_curve(GOLDEN).distortion_se[-1], 0.01 * sum(GOLDEN))


# --- Areas ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(SPECTRA, st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_area_under_the_curve_equals_numerical_integration(
    spectrum: list[float], one: float, other: float
) -> None:
    lower, upper = sorted((one * max(spectrum), other * max(spectrum)))

    def rate_times_slope(level: float) -> float:
        count = sum(value > level for value in spectrum)
        return filled_by_definition(spectrum, level)[0] * count

    kinks = sorted(value for value in spectrum if lower < value < upper)
    area = sum(
        quad(rate_times_slope, a, b)[0]
        for a, b in zip([lower, *kinks], [*kinks, upper], strict=True)
    )
    ours = area_under_curve(spectrum, lower_level=lower, upper_level=upper)
    assert_allclose(ours, area, rtol=1e-7, atol=1e-9)


def test_the_whole_area_under_the_curve_is_half_the_variance_for_equal_eigenvalues() -> None:
    """∫ (n/2) ln(nλ/D) dD from 0 to nλ = n²λ/2."""
    assert_allclose(area_under_curve([3.0]), 1.5)
    assert_allclose(area_under_curve([3.0] * 4 + [0.0]), 24.0)


@given(SPECTRA, st.floats(0.2, 15), st.floats(0.1, 90))
def test_the_exact_hypervolume_equals_numerical_integration_over_the_rate(
    spectrum: list[float], rate_reference: float, distortion_reference: float
) -> None:
    rates = np.linspace(0.0, rate_reference, 20_001)
    heights = np.maximum(0.0, distortion_reference - shannon_distortion(spectrum, rates))
    exact = shannon_hypervolume(
        spectrum, rate_reference=rate_reference, distortion_reference=distortion_reference
    )
    scale = rate_reference * distortion_reference
    assert_allclose(exact, np.trapezoid(heights, rates), atol=1e-5 * scale)


@given(SPECTRA, st.lists(LEVELS, min_size=1, max_size=20), st.floats(0.2, 15), LATENTS)
def test_no_finite_front_has_more_hypervolume_than_the_bound(
    spectrum: list[float], levels: list[float], rate_reference: float, latents: int
) -> None:
    reference = rate_reference, 1.1 * sum(spectrum)
    vaes = [linear_vae(spectrum, level, latents) for level in levels]
    found = hypervolume([(vae.rate_nats, vae.distortion_se) for vae in vaes], reference)
    bound = shannon_hypervolume(
        spectrum, rate_reference=reference[0], distortion_reference=reference[1]
    )
    assert found <= bound + 1e-9


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"non-empty list of eigenvalues, but got shape \(0,\)"),
        ([[1.0]], r"got shape \(1, 1\)"),
        ([1.0, math.nan], "finite, but got NaN or infinity"),
        ([1.0, -0.1], r"`eigenvalue >= 0` must hold for a covariance, but got -0\.1"),
    ],
)
def test_a_spectrum_that_no_covariance_has_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shannon_rate(values, 1.0)


def test_an_eigenvalue_that_rounding_made_negative_counts_as_zero() -> None:
    assert spectrum_of([1.0, -1e-15]).tolist() == [1.0, 0.0]


def test_impossible_rates_levels_and_points_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`distortion >= 0` must hold, but got distortion=-1"):
        shannon_rate(GOLDEN, -1.0)
    with pytest.raises(ValueError, match="`rate >= 0` must hold, but got rate=nan"):
        shannon_distortion(GOLDEN, math.nan)
    with pytest.raises(ValueError, match="`rate < inf` must hold"):
        level_at_rate(GOLDEN, math.inf)
    with pytest.raises(ValueError, match="Constant data have no rate"):
        level_at_rate([0.0], 1.0)
    with pytest.raises(ValueError, match="`0 < level < inf` must hold, but got level=0"):
        water_filling(GOLDEN, 0.0)
    with pytest.raises(ValueError, match="`latents >= 1` must hold, but got latents=0"):
        water_filling(GOLDEN, 1.0, 0)
    with pytest.raises(ValueError, match="`points >= 2` must hold for a curve, but got points=1"):
        shannon_curve(GOLDEN, points=1)
