"""Annealing schedules of the KL: the share of its full weight in force at a point of training."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from vae_models.config import ObjectiveConfig
from vae_models.errors import ConfigError

__all__ = [
    "Constant",
    "Cyclical",
    "Linear",
    "Schedule",
    "Sigmoid",
    "annealing_weight",
    "schedule_of",
]


class Schedule(ABC):
    """A pure function from the position in a training to a weight between zero and one."""

    @abstractmethod
    def weight(self, position: float, length: float) -> float:
        """The share of the KL's full weight.

        Args:
            position: How far the training is, in the schedule's own unit, from 0.
            length: The whole training in the same unit, above 0.
        """


@final
@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The full weight from the first step."""

    def weight(self, position: float, length: float) -> float:  # noqa: ARG002
        """One, everywhere."""
        return 1.0


@final
@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """From zero to one over `warmup`, then one (Sønderby et al. 2016, arXiv:1602.02282).

    Attributes:
        warmup: Where the weight reaches one; half of the training if None.
    """

    warmup: float | None = None

    def weight(self, position: float, length: float) -> float:
        """``min(1, position / warmup)``."""
        warmup = length / 2 if self.warmup is None else self.warmup
        return 1.0 if position >= warmup else position / warmup


@final
@dataclass(frozen=True, kw_only=True)
class Sigmoid(Schedule):
    """A logistic curve from zero to one (Bowman et al. 2015, arXiv:1511.06349).

    Attributes:
        midpoint: x₀, where the weight is one half; a quarter of the training if None.
        steepness: k; 10/midpoint if None.
    """

    midpoint: float | None = None
    steepness: float | None = None

    def weight(self, position: float, length: float) -> float:
        """``1 / (1 + exp(-k (position - x₀)))``."""
        midpoint = length / 4 if self.midpoint is None else self.midpoint
        steepness = 10 / midpoint if self.steepness is None else self.steepness
        # The hyperbolic tangent is the same curve and does not overflow.
        return 0.5 * (1.0 + math.tanh(0.5 * steepness * (position - midpoint)))


@final
@dataclass(frozen=True, kw_only=True)
class Cyclical(Schedule):
    """Equal cycles, each a linear ramp and then one (Fu et al. 2019, arXiv:1903.10145).

    Attributes:
        cycles: Cycles in the training; 4 if None.
        ramp: Share of a cycle that rises; 0.5 if None.
    """

    cycles: int | None = None
    ramp: float | None = None

    def weight(self, position: float, length: float) -> float:
        """``min(1, τ / ramp)``, with τ in [0, 1) the position within the cycle."""
        cycles = 4 if self.cycles is None else self.cycles
        ramp = 0.5 if self.ramp is None else self.ramp
        within = math.fmod(position * cycles / length, 1.0)
        return 1.0 if within >= ramp else within / ramp


def schedule_of(config: ObjectiveConfig) -> Schedule:
    """The schedule that an objective names, with its parameters."""
    match config.annealing:
        case "constant":
            return Constant()
        case "linear":
            return Linear(warmup=config.warmup)
        case "sigmoid":
            return Sigmoid(midpoint=config.midpoint, steepness=config.steepness)
        case "cyclical":
            return Cyclical(cycles=config.cycles, ramp=config.ramp)
    raise AssertionError(f"unreachable: {config.annealing!r} passed validation")


def annealing_weight(
    config: ObjectiveConfig, step: int, steps_per_epoch: int, epochs: int
) -> float:
    """The share of the KL's weight in force at an optimiser step.

    Args:
        config: The objective, with the schedule and its unit.
        step: Optimiser steps already done, from 0.
        steps_per_epoch: Steps in an epoch.
        epochs: Epochs in the whole training.

    Raises:
        ConfigError: The training has no steps, or the step is negative.
    """
    total = steps_per_epoch * epochs
    if total < 1 or step < 0:
        raise ConfigError.unmet(
            "step >= 0 and steps_per_epoch * epochs >= 1",
            "an annealed training",
            step=step,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
        )
    schedule = schedule_of(config)
    match config.annealing_unit:
        case "step":
            return schedule.weight(step, total)
        case "epoch":
            return schedule.weight(step // steps_per_epoch, epochs)
        case _:
            return schedule.weight(step / total, 1.0)
