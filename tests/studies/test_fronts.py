"""Fronts and hypervolumes against exhaustive search and against moocore."""

import math

import moocore
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from studies import fronts
from studies.errors import QueryError
from studies.fronts import front_of, hypervolume, hypervolume_history
from vae_models import likelihood_kinds
from vae_models.config import LIKELIHOODS

Points = list[tuple[float, float]]

TIED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30)
SPREAD = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=30)
BROKEN = st.sampled_from([math.nan, math.inf, -math.inf])
SOME_BROKEN = st.lists(
    st.tuples(st.one_of(st.integers(0, 4), BROKEN), st.one_of(st.integers(0, 4), BROKEN)),
    max_size=20,
)


def by_pairs(points: Points) -> list[bool]:
    """Compare each point with each other one."""

    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return all(map(math.isfinite, a)) and a != b and a[0] <= b[0] and a[1] <= b[1]

    return [
        all(map(math.isfinite, point)) and not any(beats(other, point) for other in points)
        for point in points
    ]


def by_counting_cells(points: Points, reference: tuple[int, int]) -> int:
    """Count the unit cells that integer points dominate."""
    return sum(
        any(x <= column and y <= row for x, y in points)
        for column in range(reference[0])
        for row in range(reference[1])
    )


@given(st.one_of(TIED, SPREAD, SOME_BROKEN))
def test_a_front_holds_exactly_the_points_that_no_other_point_dominates(points: Points) -> None:
    assert front_of(points).tolist() == by_pairs(points)


@given(st.one_of(TIED, SPREAD).filter(bool))
def test_fronts_agree_with_moocore(points: Points) -> None:
    array = np.array(points, dtype=np.float64)
    assert_array_equal(front_of(array), moocore.is_nondominated(array, keep_weakly=True))


@given(TIED)
def test_hypervolumes_of_integer_points_are_the_number_of_dominated_cells(points: Points) -> None:
    assert hypervolume(points, (5, 4)) == by_counting_cells(points, (5, 4))


@given(st.one_of(TIED, SPREAD).filter(bool))
def test_hypervolumes_agree_with_moocore(points: Points) -> None:
    array = np.array(points, dtype=np.float64)
    expected = moocore.hypervolume(array, ref=[5.0, 7.0])
    assert_allclose(hypervolume(array, (5.0, 7.0)), expected, rtol=1e-12, atol=1e-12)


@given(st.one_of(TIED, SPREAD, SOME_BROKEN))
def test_a_running_hypervolume_equals_the_hypervolume_of_every_beginning(points: Points) -> None:
    history = hypervolume_history(points, (5.0, 7.0))
    again = [hypervolume(points[: n + 1], (5.0, 7.0)) for n in range(len(points))]
    assert_allclose(history, again, rtol=1e-12, atol=1e-12)
    assert (np.diff(history) >= 0).all()


@given(SPREAD)
def test_the_order_of_the_points_changes_neither_front_nor_hypervolume(
    points: Points,
) -> None:
    shuffled = points[::-1]
    assert front_of(points).tolist() == front_of(shuffled).tolist()[::-1]
    assert hypervolume(points, (9.0, 9.0)) == hypervolume(shuffled, (9.0, 9.0))


def test_equal_points_on_the_front_are_all_kept_and_counted_once() -> None:
    points = [(1, 2), (1, 2), (2, 1), (2, 2)]
    assert front_of(points).tolist() == [True, True, True, False]
    assert hypervolume(points, (3, 3)) == 3


def test_a_single_point_is_a_front_and_dominates_its_rectangle() -> None:
    assert front_of([(2.0, 3.0)]).tolist() == [True]
    assert hypervolume([(2.0, 3.0)], (5.0, 7.0)) == 12.0
    assert hypervolume_history([(2.0, 3.0)], (5.0, 7.0)).tolist() == [12.0]


def test_no_points_have_an_empty_front_and_no_hypervolume() -> None:
    empty: NDArray[np.float64] = np.empty((0, 2))
    cases: list[Points | NDArray[np.float64]] = [[], empty]
    for points in cases:
        assert front_of(points).shape == (0,)
        assert hypervolume(points, (1.0, 1.0)) == 0.0
        assert hypervolume_history(points, (1.0, 1.0)).shape == (0,)


def test_points_on_or_beyond_the_reference_add_no_hypervolume_but_stay_on_the_front() -> None:
    points = [(0.0, 9.0), (1.0, 1.0), (9.0, 0.0), (3.0, 0.5), (0.5, 3.0)]
    assert front_of(points).all()
    assert hypervolume(points, (3.0, 3.0)) == 4.0


def test_a_trial_without_a_result_is_ignored_wherever_its_nan_or_infinity_stands() -> None:
    points = [(math.nan, 0.0), (-math.inf, -math.inf), (1.0, math.inf), (1.0, 1.0)]
    assert front_of(points).tolist() == [False, False, False, True]
    assert hypervolume(points, (2.0, 2.0)) == 1.0


def test_hypervolumes_of_negative_coordinates_are_areas_too() -> None:
    """The NLL of a density can be negative."""
    assert hypervolume([(1.0, -5.0)], (3.0, -1.0)) == 8.0


def test_a_hundred_thousand_points_take_a_moment_only() -> None:
    """The running value of a large study must not cost a recomputation per trial."""
    points = np.random.default_rng(0).random((100_000, 2))
    assert_allclose(hypervolume_history(points, (1.0, 1.0))[-1], hypervolume(points, (1.0, 1.0)))


def test_every_likelihood_is_measured_in_what_the_models_say() -> None:
    """The studies know nothing of the models, so each has the table of its own."""
    assert dict(fronts.LIKELIHOOD_MEASURES) == dict(likelihood_kinds.LIKELIHOOD_MEASURES)
    assert set(fronts.LIKELIHOOD_MEASURES) == set(LIKELIHOODS)


@pytest.mark.parametrize(
    "likelihoods",
    [
        ["gaussian", "gaussian_learned", "gaussian_optimal", "gaussian_pixel", "mse"],
        ["bernoulli", "bce"],
        ["discretized_logistic", "categorical256"],
        ["laplace"],
        [],
    ],
)
def test_nlls_of_one_measure_share_an_axis(likelihoods: list[str]) -> None:
    fronts.check_common_axis(likelihoods)


@pytest.mark.parametrize(
    ("likelihoods", "named"),
    [
        (["mse", "bce"], "bce and mse"),
        (["gaussian", "laplace"], "gaussian and laplace"),
        (["beta", "continuous_bernoulli"], "beta and continuous_bernoulli"),
        (["bernoulli", "continuous_bernoulli"], "bernoulli and continuous_bernoulli"),
        (["categorical256", "bernoulli"], "bernoulli and categorical256"),
        (["discretized_logistic", "gaussian"], "discretized_logistic and gaussian"),
        (["gaussian", "of_tomorrow"], "gaussian and of_tomorrow"),
    ],
)
def test_nlls_of_different_measures_are_refused(likelihoods: list[str], named: str) -> None:
    with pytest.raises(QueryError, match=f"got {named}, whose nats do not compare; use the"):
        fronts.check_common_axis(likelihoods)


def test_points_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[n, 2\], but got shape \(3,\)"):
        front_of([1.0, 2.0, 3.0])


@pytest.mark.parametrize("compute", [hypervolume, hypervolume_history])
def test_a_reference_that_is_not_finite_is_refused(compute: object) -> None:
    assert callable(compute)
    with pytest.raises(ValueError, match=r"two finite numbers, but got \(inf, 1\.0\)"):
        compute([(0.0, 0.0)], (math.inf, 1.0))
