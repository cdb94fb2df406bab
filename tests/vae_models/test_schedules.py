"""Annealing weights: closed values, bounds, and the three units."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_models.config import ANNEALING_UNITS, SCHEDULES, ObjectiveConfig
from vae_models.errors import ConfigError
from vae_models.schedules import (
    Constant,
    Cyclical,
    Linear,
    Schedule,
    Sigmoid,
    annealing_weight,
    schedule_of,
)

ALL = [
    Constant(),
    Linear(),
    Linear(warmup=0.0),
    Linear(warmup=0.3),
    Sigmoid(),
    Sigmoid(midpoint=1e-3, steepness=1e6),
    Cyclical(),
    Cyclical(cycles=7, ramp=0.0),
    Cyclical(cycles=1, ramp=1.0),
]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@given(position=st.floats(0, 1), length=st.floats(1e-3, 1e6))
def test_a_weight_is_a_pure_function_into_the_unit_interval(
    schedule: Schedule, position: float, length: float
) -> None:
    weight = schedule.weight(position * length, length)
    assert 0.0 <= weight <= 1.0
    assert schedule.weight(position * length, length) == weight


def test_constant_is_one_from_the_first_step() -> None:
    assert Constant().weight(0, 100) == 1.0


def test_linear_rises_in_proportion_and_stays_at_one() -> None:
    schedule = Linear(warmup=200)
    values = [schedule.weight(position, 1000) for position in (0, 50, 100, 200, 999)]
    assert values == [0.0, 0.25, 0.5, 1.0, 1.0]


def test_linear_takes_half_of_the_training_by_default() -> None:
    assert [Linear().weight(p, 100) for p in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]


@given(st.floats(0, 1000), st.floats(1, 900), st.floats(1e-3, 0.5))
def test_sigmoid_is_the_logistic_curve_of_bowman(
    position: float, midpoint: float, steepness: float
) -> None:
    expected = 1 / (1 + math.exp(-steepness * (position - midpoint)))
    weight = Sigmoid(midpoint=midpoint, steepness=steepness).weight(position, 1000)
    assert weight == pytest.approx(expected, abs=1e-12)


def test_sigmoid_is_one_half_at_a_quarter_of_the_training_by_default() -> None:
    schedule = Sigmoid()
    assert schedule.weight(25, 100) == 0.5
    assert schedule.weight(0, 100) == pytest.approx(1 / (1 + math.exp(10)))


def test_cyclical_is_four_ramps_over_half_a_cycle_each_by_default() -> None:
    values = [Cyclical().weight(position, 80) for position in range(80)]
    cycle = [step / 10 for step in range(10)] + [1.0] * 10
    assert values == pytest.approx(cycle * 4)


@given(st.integers(1, 9), st.floats(0.05, 1), st.integers(10, 2000))
def test_cyclical_falls_once_between_two_cycles(cycles: int, ramp: float, length: int) -> None:
    schedule = Cyclical(cycles=cycles, ramp=ramp)
    values = [schedule.weight(position, length) for position in range(length)]
    falls = sum(after < before for before, after in pairwise(values))
    assert falls == cycles - 1 if length >= 4 * cycles / ramp else falls <= cycles - 1


@pytest.mark.parametrize("unit", ANNEALING_UNITS)
@pytest.mark.parametrize("annealing", SCHEDULES)
def test_defaults_give_the_same_curve_in_every_unit(annealing: str, unit: str) -> None:
    """At the first step of an epoch, steps, epochs and fractions are the same place."""
    config = ObjectiveConfig(annealing=annealing, annealing_unit=unit)
    fraction = ObjectiveConfig(annealing=annealing)
    for epoch in range(20):
        weight = annealing_weight(config, epoch * 50, 50, 20)
        assert weight == pytest.approx(annealing_weight(fraction, epoch * 50, 50, 20), abs=1e-9)


def test_by_epoch_the_weight_changes_between_epochs_only() -> None:
    config = ObjectiveConfig(annealing="linear", annealing_unit="epoch", warmup=2)
    weights = [annealing_weight(config, step, 3, 4) for step in range(12)]
    assert weights == [0.0] * 3 + [0.5] * 3 + [1.0] * 6


def test_by_step_the_warm_up_counts_optimiser_steps() -> None:
    config = ObjectiveConfig(annealing="linear", annealing_unit="step", warmup=4)
    weights = [annealing_weight(config, step, 3, 4) for step in range(6)]
    assert weights == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_parameters_reach_the_schedule() -> None:
    assert schedule_of(ObjectiveConfig(annealing="linear", warmup=0.1)) == Linear(warmup=0.1)
    sigmoid = ObjectiveConfig(annealing="sigmoid", midpoint=0.5, steepness=20)
    assert schedule_of(sigmoid) == Sigmoid(midpoint=0.5, steepness=20.0)
    cyclical = ObjectiveConfig(annealing="cyclical", cycles=2, ramp=0.9)
    assert schedule_of(cyclical) == Cyclical(cycles=2, ramp=0.9)


def test_a_training_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"steps_per_epoch \* epochs >= 1` must hold"):
        annealing_weight(ObjectiveConfig(), 0, 0, 10)
