"""The front figure: its record against exhaustive search and bisection, its picture's limits."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.axis_limits import far_limit, limits_of
from reports.beta_scale import beta_scale_of, log_ticks
from reports.dossier import Dossier, spread
from reports.front_figure import draw_front
from reports.front_plane import alt_of, caption_of, front_plane
from studies.rate_distortion import shannon_rate
from studies.records import TrialRecord

MakeTrial = Callable[..., TrialRecord]
MakeDossier = Callable[..., Dossier]


def _dominated(trial: TrialRecord, trials: list[TrialRecord]) -> bool:
    def pair(one: TrialRecord) -> tuple[float, float]:
        assert one.rate_nats is not None
        assert one.distortion_se is not None
        return one.rate_nats, one.distortion_se

    r, d = pair(trial)
    others = [pair(other) for other in trials]
    return any(a <= r and b <= d and (a < r or b < d) for a, b in others)


def test_the_front_is_what_exhaustive_search_finds_also_with_ties(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, 8, size=(60, 2)).astype(float)
    trials = [make_trial(n, float(r), float(d)) for n, (r, d) in enumerate(pairs)]
    plane = front_plane(make_dossier(trials))
    expected = {trial.number for trial in trials if not _dominated(trial, trials)}
    assert {point.number for point in plane.front()} == expected
    rates = [point.rate_nats for point in plane.front()]
    assert rates == sorted(rates)


def test_only_complete_trials_are_points(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    plane = front_plane(make_dossier(curve))
    assert [point.number for point in plane.points] == list(range(12))
    assert [point.number for point in plane.points if point.collapsed] == [0]


def test_the_bound_is_reverse_water_filling_found_by_bisection(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    dossier = make_dossier(curve)
    spectrum = np.array(dossier.study.spectrum)

    def distortion_at(rate: float) -> float:
        low, high = 1e-12, float(spectrum.max())
        for _ in range(200):
            level = math.sqrt(low * high)
            spent = 0.5 * np.log(np.maximum(spectrum / level, 1.0)).sum()
            low, high = (level, high) if spent > rate else (low, level)
        return float(np.minimum(spectrum, high).sum())

    bound = front_plane(dossier).bound
    assert bound[0] == pytest.approx((0.0, spectrum.sum()))
    for rate, distortion in bound[::20]:
        assert distortion == pytest.approx(distortion_at(rate), rel=1e-6)


def test_the_bound_of_gaussian_data_is_that_of_their_source_and_not_of_the_sample(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    """Only below the source's own bound can nothing lie, and only there the caption says so."""
    spec = {"data": {"name": "gaussian", "spectrum": [0.2, 7.0, 3.0]}}
    sample = (6.1, 3.3, 0.19)
    plane = front_plane(make_dossier(curve, data={"name": "gaussian"}, spec=spec, spectrum=sample))
    assert plane.bound[0] == pytest.approx((0.0, 10.2))
    for rate, distortion in plane.bound[1::20]:
        assert shannon_rate([7.0, 3.0, 0.2], distortion) == pytest.approx(rate)
    assert "no encoder and decoder of any kind can lie below it" in caption_of(plane)

    for other in (
        make_dossier(curve, data={"name": "digits"}, spec=spec, spectrum=sample),
        make_dossier(curve, data={"name": "gaussian"}, spec={}, spectrum=sample),
    ):
        plane = front_plane(other)
        assert plane.bound[0] == pytest.approx((0.0, sum(sample)))
        assert "trials may lie below it" in caption_of(plane)


def test_lines_of_equal_elbo_stand_only_where_distortion_is_in_nats(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    squared, nats = (front_plane(make_dossier(curve, distortion=kind)) for kind in ("se", "nll"))
    assert squared.bound
    assert not squared.elbo_levels
    assert "equal ELBO" not in caption_of(squared)
    assert not nats.bound
    assert 3 <= len(nats.elbo_levels) <= 8
    steps = {round(b - a, 9) for a, b in pairwise(nats.elbo_levels)}
    assert len(steps) == 1
    assert "equal ELBO" in caption_of(nats)


def test_drawn_elbo_lines_have_the_sum_that_their_number_says(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    plane = front_plane(make_dossier(curve, distortion="nll"))
    axes = draw_front(plane).axes[0]
    sums = [np.add(*line.get_data()) for line in axes.lines if np.size(line.get_xdata()) == 2]
    for level in plane.elbo_levels:
        assert any(np.allclose(total, level) for total in sums)


def test_a_trial_far_off_is_left_out_and_named_in_the_caption(
    curve: list[TrialRecord], make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    far = make_trial(99, 3.0, 4000.0)
    plane = front_plane(make_dossier([*curve, far]))
    assert plane.outside() == (99,)
    assert "1 trial that lies far off (number 99)" in caption_of(plane)
    axes = draw_front(plane).axes[0]
    low, high = axes.get_ylim()
    assert all(low <= p.distortion <= high for p in plane.points if p.number != 99)
    assert high < 100


def test_the_staircase_never_passes_below_a_trial_of_the_front(
    curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    plane = front_plane(make_dossier(curve))
    axes = draw_front(plane).axes[0]
    stairs = next(line for line in axes.lines if str(line.get_label()).startswith("front"))
    rates, distortions = np.asarray(stairs.get_xdata()), np.asarray(stairs.get_ydata())
    for point in plane.front():
        assert (point.rate_nats, point.distortion) in set(zip(rates, distortions, strict=True))
    assert (np.diff(rates) >= 0).all()
    assert (np.diff(distortions) <= 0).all()


def test_a_study_without_trials_shows_the_bound_alone(make_dossier: MakeDossier) -> None:
    plane = front_plane(make_dossier([]))
    assert plane.points == ()
    assert plane.bound
    assert alt_of(plane) == "Rate–distortion plane without any trial yet."
    texts = [text.get_text() for text in draw_front(plane).axes[0].texts]
    assert "no complete trial yet" in texts


@pytest.mark.parametrize("spectrum", [(), (0.0, 0.0)])
def test_data_without_variance_or_spectrum_have_no_bound(
    spectrum: tuple[float, ...], curve: list[TrialRecord], make_dossier: MakeDossier
) -> None:
    plane = front_plane(make_dossier(curve, spectrum=spectrum))
    assert plane.bound == ()
    draw_front(plane)


def test_nats_of_different_likelihoods_are_refused_with_the_reason(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    trials = [make_trial(0, 1.0, 2.0), make_trial(1, 2.0, 1.0, likelihood="gaussian")]
    mixed = make_dossier(trials, distortion="nll")
    assert mixed.refusal is not None
    assert "bernoulli and gaussian" in mixed.refusal
    assert mixed.front() == ()
    assert mixed.hypervolume() is None
    assert make_dossier(trials).refusal is None


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=60))
def test_axis_limits_leave_out_at_most_a_tenth_of_the_values(values: list[float]) -> None:
    limit = far_limit(values)
    assert sum(value > limit for value in values) <= math.ceil(len(values) / 10)


def test_a_long_tail_without_a_gap_stays_whole() -> None:
    assert far_limit([1.3**power for power in range(40)]) == 1.3**39


def test_an_axis_is_logarithmic_only_over_decades_of_positive_values() -> None:
    wide = [0.1, 0.5, 2.0, 10.0]
    assert limits_of(wide, may_be_log=True, from_zero=True).log
    assert not limits_of(wide, may_be_log=False, from_zero=True).log
    assert not limits_of([5.0, 10.0], may_be_log=True, from_zero=True).log
    assert not limits_of([0.0, 10.0], may_be_log=True, from_zero=True).log


@given(st.floats(-6, 6), st.floats(0.05, 8))
def test_log_ticks_lie_within_the_range_and_are_few(start: float, decades: float) -> None:
    low, high = 10**start, 10 ** (start + decades)
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low * 0.99 <= tick <= high * 1.01 for tick in ticks)


def test_colours_order_beta_by_its_logarithm_and_bear_zero() -> None:
    scale = beta_scale_of([0.01, 100.0, 0.0])
    assert (scale.low, scale.high) == (0.01, 100.0)
    lightness = [sum(scale.colour(beta)[:3]) for beta in (0.01, 0.1, 1.0, 10.0, 100.0)]
    assert lightness == sorted(lightness)
    assert scale.colour(0.0) == scale.colour(0.01)


def test_a_spread_keeps_both_ends_and_repeats_nothing(make_trial: MakeTrial) -> None:
    trials = [make_trial(number, 1.0, 1.0) for number in range(29)]
    numbers = [trial.number for trial in spread(trials, 8)]
    assert (numbers[0], numbers[-1], len(set(numbers))) == (0, 28, 8)
    assert max(np.diff(numbers)) - min(np.diff(numbers)) <= 1


def test_every_line_of_equal_elbo_crosses_the_plane(
    make_trial: MakeTrial, make_dossier: MakeDossier
) -> None:
    """A line beneath the corner of the axes would put its number far outside of the figure."""
    trials = [make_trial(0, 0.01, 293.6 / 3), make_trial(1, 0.4, 296.0 / 3)]
    plane = front_plane(make_dossier(trials, distortion="nll"))
    corner = plane.rates.low + plane.distortions.low
    assert plane.elbo_levels
    assert all(corner <= level for level in plane.elbo_levels)
