"""Annealing weights: one contract for every schedule, published curves, and the three units."""

import json
import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from vae_models.config import (
    ANNEALING_UNITS,
    RAMP_SHAPES,
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ObjectiveConfig,
)
from vae_models.errors import ConfigError
from vae_models.ramps import RAMPS
from vae_models.schedules import (
    Constant,
    Cosine,
    Cyclical,
    Delayed,
    Linear,
    Schedule,
    Sigmoid,
    Stepwise,
    annealing_weight,
    schedule_of,
)

Parameters = dict[str, Any]

STEPS_PER_EPOCH, EPOCHS = 50, 20
LENGTHS = {"fraction": 1, "step": STEPS_PER_EPOCH * EPOCHS, "epoch": EPOCHS}


class ScheduleContract(ABC):
    """What every schedule promises.

    Attributes:
        name: Under which a setting names it.
        final_weight: Where it ends.
        rises: Whether it never falls.
        tolerance: How near it comes to the final weight.
    """

    name: str
    final_weight: float = 1.0
    rises: bool = True
    tolerance: float = 0.0

    @abstractmethod
    def typical(self, length: float) -> list[Parameters]:
        """Parameters of ordinary use, in the unit in which the training is so long."""

    @abstractmethod
    def extreme(self, length: float) -> list[Parameters]:
        """Parameters at the edge of what a setting can say."""

    def _schedules(self, length: float = 1) -> list[Schedule]:
        settings = [*self.typical(length), *self.extreme(length)]
        return [schedule_of(self._config("fraction", one)) for one in settings]

    def _config(self, unit: str, parameters: Parameters) -> ObjectiveConfig:
        return ObjectiveConfig(annealing=self.name, annealing_unit=unit, **parameters)

    def test_a_weight_is_between_zero_and_one_at_every_step_and_at_the_end(self) -> None:
        for schedule in self._schedules():
            weights = [schedule.weight(step / 997, 1.0) for step in range(998)]
            assert all(0.0 <= weight <= 1.0 for weight in weights), schedule

    def test_the_same_step_has_the_same_weight_in_any_order(self) -> None:
        for schedule in self._schedules():
            forwards = [schedule.weight(step, 40) for step in range(40)]
            backwards = [schedule.weight(step, 40) for step in reversed(range(40))]
            assert forwards == backwards[::-1]

    def test_it_ends_at_its_final_weight(self) -> None:
        for parameters in self.typical(1):
            last = schedule_of(self._config("fraction", parameters)).weight(1 - 1e-4, 1.0)
            assert last == pytest.approx(self.final_weight, abs=self.tolerance, rel=0)

    def test_it_never_falls_if_it_claims_so(self) -> None:
        falls = 0
        for schedule in self._schedules():
            weights = [schedule.weight(step / 997, 1.0) for step in range(997)]
            falls += sum(after < before for before, after in pairwise(weights))
        assert (falls == 0) is self.rises

    def test_a_training_of_one_step_has_a_weight(self) -> None:
        for unit in ANNEALING_UNITS:
            for parameters in (*self.typical(1), *self.extreme(1)):
                weight = annealing_weight(self._config(unit, parameters), 0, 1, 1)
                assert 0.0 <= weight <= 1.0

    @pytest.mark.parametrize("unit", ANNEALING_UNITS)
    def test_the_curve_is_the_same_in_every_unit(self, unit: str) -> None:
        """At the first step of an epoch, steps, epochs and fractions are the same place."""
        in_unit, in_fractions = self.typical(LENGTHS[unit]), self.typical(1)
        for there, here in zip(in_unit, in_fractions, strict=True):
            config, fraction = self._config(unit, there), self._config("fraction", here)
            for step in range(0, STEPS_PER_EPOCH * EPOCHS, STEPS_PER_EPOCH):
                weight = annealing_weight(config, step, STEPS_PER_EPOCH, EPOCHS)
                expected = annealing_weight(fraction, step, STEPS_PER_EPOCH, EPOCHS)
                assert weight == pytest.approx(expected, abs=1e-9)

    def test_every_parameter_reaches_the_schedule(self) -> None:
        for parameters in self.typical(1):
            schedule = schedule_of(self._config("fraction", parameters))
            for name, value in parameters.items():
                assert getattr(schedule, name) == value
        assert set().union(*self.typical(1)) == set(SCHEDULE_PARAMETERS[self.name])

    def test_the_setting_survives_json(self) -> None:
        for parameters in self.typical(1):
            config = self._config("fraction", parameters)
            again = ObjectiveConfig(annealing=self.name, **json.loads(json.dumps(parameters)))
            assert schedule_of(again) == schedule_of(config)


class TestConstant(ScheduleContract):
    name = "constant"

    def typical(self, length: float) -> list[Parameters]:
        return [{}]

    def extreme(self, length: float) -> list[Parameters]:
        return []

    def test_it_is_one_from_the_first_step(self) -> None:
        assert Constant().weight(0, 100) == 1.0


class TestLinear(ScheduleContract):
    name = "linear"

    def typical(self, length: float) -> list[Parameters]:
        return [{}, {"warmup": 0.3 * length}, {"warmup": 0.9 * length}]

    def extreme(self, length: float) -> list[Parameters]:
        return [{"warmup": 0}, {"warmup": 5e-324}, {"warmup": length}]

    @given(st.floats(0, 2000), st.floats(1e-3, 1000))
    def test_it_is_the_line_from_zero_to_the_warm_up(self, position: float, warmup: float) -> None:
        expected = np.interp(position, [0, warmup], [0, 1])
        assert Linear(warmup=warmup).weight(position, 2000) == pytest.approx(expected, abs=1e-12)

    def test_it_takes_half_of_the_training_by_default(self) -> None:
        assert [Linear().weight(p, 100) for p in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]


class TestCosine(ScheduleContract):
    name = "cosine"

    def typical(self, length: float) -> list[Parameters]:
        return [{}, {"warmup": 0.3 * length}, {"warmup": 0.9 * length}]

    def extreme(self, length: float) -> list[Parameters]:
        return [{"warmup": 0}, {"warmup": 5e-324}, {"warmup": length}]

    @given(st.floats(0, 2000), st.floats(1e-3, 1000))
    def test_it_is_the_square_of_a_quarter_sine(self, position: float, warmup: float) -> None:
        expected = math.sin(0.5 * math.pi * min(1.0, position / warmup)) ** 2
        assert Cosine(warmup=warmup).weight(position, 2000) == pytest.approx(expected, abs=1e-12)

    def test_it_is_flat_at_both_ends(self) -> None:
        first, last = (Cosine(warmup=1.0).weight(x, 2.0) for x in (1e-4, 1 - 1e-4))
        assert first < 1e-7
        assert last > 1 - 1e-7

    def test_it_takes_half_of_the_training_by_default(self) -> None:
        weights = [Cosine().weight(position, 100) for position in (0, 25, 50, 99)]
        assert weights == pytest.approx([0.0, 0.5, 1.0, 1.0])


class TestSigmoid(ScheduleContract):
    name = "sigmoid"
    tolerance = 1e-3

    def typical(self, length: float) -> list[Parameters]:
        return [
            {},
            {"midpoint": 0.5 * length},
            {"midpoint": 0.3 * length, "steepness": 40 / length},
            {"midpoint": 0.3 * length, "steepness": 20 / length},
        ]

    def extreme(self, length: float) -> list[Parameters]:
        return [
            {"midpoint": length, "steepness": 1e308},
            {"midpoint": 5e-324, "steepness": 5e-324},
            {"midpoint": 5e-324},
        ]

    @given(st.floats(0, 1000), st.floats(1, 900), st.floats(1e-3, 0.5))
    def test_it_is_the_logistic_curve_of_bowman(
        self, position: float, midpoint: float, steepness: float
    ) -> None:
        weight = Sigmoid(midpoint=midpoint, steepness=steepness).weight(position, 1000)
        assert weight == pytest.approx(expit(steepness * (position - midpoint)), abs=1e-12)

    def test_it_is_one_half_at_a_quarter_of_the_training_by_default(self) -> None:
        assert Sigmoid().weight(25, 100) == 0.5
        assert Sigmoid().weight(0, 100) == pytest.approx(1 / (1 + math.exp(10)))

    def test_a_steepness_without_end_is_a_step(self) -> None:
        schedule = Sigmoid(midpoint=0.5, steepness=1e308)
        assert [schedule.weight(x, 1) for x in (0.0, 0.499, 0.5, 0.501)] == [0.0, 0.0, 0.5, 1.0]


class TestCyclical(ScheduleContract):
    name = "cyclical"
    rises = False

    def typical(self, length: float) -> list[Parameters]:
        shapes: list[Parameters] = [{"ramp_shape": shape} for shape in RAMP_SHAPES]
        return [{}, *shapes, {"cycles": 7}, {"cycles": 2, "ramp": 0.9, "ramp_shape": "cosine"}]

    def extreme(self, length: float) -> list[Parameters]:
        return [{"ramp": 0}, {"ramp": 5e-324}, {"cycles": 10**15}, {"cycles": 1, "ramp": 1}]

    @pytest.mark.parametrize("shape", RAMP_SHAPES)
    @pytest.mark.parametrize("ramp", [0.25, 0.5, 0.8])
    @pytest.mark.parametrize(("cycles", "period"), [(4, 20), (1, 100), (7, 10), (3, 33), (13, 77)])
    def test_it_is_the_schedule_of_fu_et_al(
        self, shape: str, ramp: float, cycles: int, period: int
    ) -> None:
        """Equations 6 and 7 of the paper, with t = 1 … T and T/M a whole number of steps."""
        schedule = Cyclical(cycles=cycles, ramp=ramp, ramp_shape=shape)
        for t in range(1, cycles * period + 1):
            tau = (t - 1) % period / period
            expected = _published_ramp(shape, tau / ramp) if tau <= ramp else 1.0
            weight = schedule.weight(t - 1, cycles * period)
            assert weight == pytest.approx(expected, abs=1e-9)
            assert schedule.weight((t - 1) / (cycles * period), 1) == pytest.approx(weight)

    @given(st.integers(1, 9), st.floats(0.05, 1), st.integers(10, 2000))
    def test_it_falls_once_between_two_cycles(self, cycles: int, ramp: float, length: int) -> None:
        schedule = Cyclical(cycles=cycles, ramp=ramp)
        values = [schedule.weight(position, length) for position in range(length)]
        falls = sum(after < before for before, after in pairwise(values))
        assert falls == cycles - 1 if length >= 4 * cycles / ramp else falls <= cycles - 1

    def test_it_is_four_linear_ramps_over_half_a_cycle_each_by_default(self) -> None:
        values = [Cyclical().weight(position, 80) for position in range(80)]
        assert values == pytest.approx(([step / 10 for step in range(10)] + [1.0] * 10) * 4)

    @given(st.integers(1, 500), st.integers(1, 40))
    def test_the_first_step_of_every_cycle_has_no_kl_also_as_a_fraction(
        self, period: int, cycles: int
    ) -> None:
        """A fraction such as 14/70 · 5 is rounded to just below a whole number of cycles."""
        config = ObjectiveConfig(annealing="cyclical", cycles=cycles)
        for cycle in range(cycles):
            assert annealing_weight(config, cycle * period, period, cycles) < 1e-9


class TestDelayed(ScheduleContract):
    name = "delayed"

    def typical(self, length: float) -> list[Parameters]:
        shapes: list[Parameters] = [{"ramp_shape": shape} for shape in RAMP_SHAPES]
        return [{}, *shapes, {"delay": 0.1 * length, "warmup": 0.6 * length}]

    def extreme(self, length: float) -> list[Parameters]:
        return [
            {"delay": length},
            {"delay": length, "warmup": 0},
            {"delay": 0, "warmup": 0},
            {"delay": length / 2, "warmup": 0},
            {"delay": length / 2, "warmup": length},
            {"delay": length / 2, "warmup": 5e-324, "ramp_shape": "sigmoid"},
        ]

    @pytest.mark.parametrize("shape", RAMP_SHAPES)
    @given(st.floats(0, 3000), st.floats(0, 1000), st.floats(1e-3, 1000))
    def test_it_is_zero_for_the_delay_and_then_the_ramp(
        self, shape: str, position: float, delay: float, warmup: float
    ) -> None:
        schedule = Delayed(delay=delay, warmup=warmup, ramp_shape=shape)
        share = np.interp(position, [delay, delay + warmup], [0, 1])
        expected = _published_ramp(shape, float(share))
        assert schedule.weight(position, 3000) == pytest.approx(expected, abs=1e-9)

    def test_both_parts_take_a_quarter_of_the_training_by_default(self) -> None:
        weights = [Delayed().weight(position, 80) for position in (0, 19, 20, 30, 40, 79)]
        assert weights == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]

    def test_without_a_delay_it_is_the_linear_warm_up(self) -> None:
        for position in range(100):
            delayed = Delayed(delay=0.0, warmup=30.0).weight(position, 100)
            assert delayed == Linear(warmup=30.0).weight(position, 100)

    def test_a_delay_as_long_as_the_training_never_lets_the_kl_in(self) -> None:
        config = ObjectiveConfig(annealing="delayed", delay=1, warmup=0)
        assert {annealing_weight(config, step, 10, 3) for step in range(30)} == {0.0}


class TestStepwise(ScheduleContract):
    name = "stepwise"
    final_weight = 0.75

    def typical(self, length: float) -> list[Parameters]:
        places = tuple(share * length for share in (0.1, 0.35, 0.6))
        return [{"milestones": places, "milestone_weights": (0.25, 0.5, 0.75)}]

    def extreme(self, length: float) -> list[Parameters]:
        return [
            {"milestones": (0.0,), "milestone_weights": (1.0,)},
            {"milestones": (length,), "milestone_weights": (1.0,)},
            {"milestones": (0.0, 5e-324), "milestone_weights": (0.0, 1.0)},
        ]

    def test_it_is_a_table_that_starts_at_zero(self) -> None:
        schedule = Stepwise(milestones=(10, 20, 50), milestone_weights=(0.1, 1.0, 0.3))
        places = (0, 9, 10, 19, 20, 49, 50, 1000)
        weights = [schedule.weight(position, 60) for position in places]
        assert weights == [0.0, 0.0, 0.1, 0.1, 1.0, 1.0, 0.3, 0.3]

    @given(st.integers(1, 300), st.integers(1, 300))
    def test_a_milestone_at_the_fraction_of_a_step_is_in_force_at_that_step(
        self, step: int, more: int
    ) -> None:
        total = step + more
        config = ObjectiveConfig(
            annealing="stepwise", milestones=(step / total,), milestone_weights=(1.0,)
        )
        weights = [annealing_weight(config, at, total, 1) for at in (step - 1, step)]
        assert weights == [0.0, 1.0]


def _published_ramp(shape: str, share: float) -> float:
    """Linear; ½ - ½ cos(pi x); the logistic curve from -6 to 6, stretched to run from 0 to 1."""
    if shape == "linear":
        return share
    if shape == "cosine":
        return 0.5 - 0.5 * math.cos(math.pi * share)
    return float((expit(12 * share - 6) - expit(-6)) / (expit(6) - expit(-6)))


def test_every_schedule_is_under_contract() -> None:
    assert {contract.name for contract in ScheduleContract.__subclasses__()} == set(SCHEDULES)


@pytest.mark.parametrize("shape", RAMP_SHAPES)
@given(st.floats(0, 1))
def test_a_ramp_runs_from_exactly_zero_to_exactly_one_and_is_symmetric(
    shape: str, share: float
) -> None:
    ramp = RAMPS[shape]
    assert [ramp(0.0), ramp(0.5), ramp(1.0)] == pytest.approx([0.0, 0.5, 1.0], abs=1e-16)
    assert ramp(share) + ramp(1 - share) == pytest.approx(1.0)
    assert ramp(share) == pytest.approx(_published_ramp(shape, share), abs=1e-12)


@given(st.floats(0, 1))
def test_the_sigmoid_ramp_is_the_published_one_within_a_quarter_of_a_percent(share: float) -> None:
    assert RAMPS["sigmoid"](share) == pytest.approx(expit(12 * share - 6), abs=0.0025)


def test_by_epoch_the_weight_changes_between_epochs_only() -> None:
    config = ObjectiveConfig(annealing="linear", annealing_unit="epoch", warmup=2)
    weights = [annealing_weight(config, step, 3, 4) for step in range(12)]
    assert weights == [0.0] * 3 + [0.5] * 3 + [1.0] * 6


def test_by_step_the_warm_up_counts_optimiser_steps() -> None:
    config = ObjectiveConfig(annealing="linear", annealing_unit="step", warmup=4)
    weights = [annealing_weight(config, step, 3, 4) for step in range(6)]
    assert weights == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_training_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"steps_per_epoch \* epochs >= 1` must hold"):
        annealing_weight(ObjectiveConfig(), 0, 0, 10)


def test_a_step_before_the_first_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`step >= 0 .* must hold .* got step=-1"):
        annealing_weight(ObjectiveConfig(), -1, 5, 10)
