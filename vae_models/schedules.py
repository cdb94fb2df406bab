"""Annealing schedules of the KL: the share of its full weight in force at a point of training."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from vae_models.config import SCHEDULE_PARAMETERS, ObjectiveConfig
from vae_models.errors import ConfigError
from vae_models.ramps import ramp_of

__all__ = [
    "Constant",
    "Cosine",
    "Cyclical",
    "Delayed",
    "Linear",
    "Schedule",
    "Sigmoid",
    "Stepwise",
    "annealing_weight",
    "schedule_of",
]

_ROUNDING = 1e-9  # of a cycle: a first step that rounding puts before its cycle belongs to it


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
        return ramp_of("linear", position, length / 2 if self.warmup is None else self.warmup)


@final
@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """From zero to one over `warmup` without a kink at either end, then one.

    Attributes:
        warmup: Where the weight reaches one; half of the training if None.
    """

    warmup: float | None = None

    def weight(self, position: float, length: float) -> float:
        """``½ (1 - cos(pi min(1, position / warmup)))``."""
        return ramp_of("cosine", position, length / 2 if self.warmup is None else self.warmup)


@final
@dataclass(frozen=True, kw_only=True)
class Sigmoid(Schedule):
    """A logistic curve from zero to one (Bowman et al. 2015, arXiv:1511.06349).

    It comes near zero and one and reaches neither: the default starts at 0.00005.

    Attributes:
        midpoint: x₀, where the weight is one half; a quarter of the training if None.
        steepness: k; 10/midpoint if None.
    """

    midpoint: float | None = None
    steepness: float | None = None

    def weight(self, position: float, length: float) -> float:
        """``1 / (1 + exp(-k (position - x₀)))``."""
        midpoint = length / 4 if self.midpoint is None else self.midpoint
        if self.steepness is None:
            exponent = 10.0 * (position / midpoint - 1.0)
        else:
            exponent = self.steepness * (position - midpoint)
        # The hyperbolic tangent is the same curve and does not overflow.
        return 0.5 * (1.0 + math.tanh(0.5 * exponent))


@final
@dataclass(frozen=True, kw_only=True)
class Cyclical(Schedule):
    """Equal cycles, each a ramp from zero and then one (Fu et al. 2019, arXiv:1903.10145).

    Each cycle starts at zero. One of a single step or epoch has nothing else: the weight is then
    zero for ever, so ask for fewer cycles than steps (or epochs, by epoch).

    Attributes:
        cycles: Cycles in the training; 4 if None.
        ramp: Share of a cycle that rises; 0.5 if None.
        ramp_shape: How it rises, one of `vae_models.config.RAMP_SHAPES`; linearly if None.
    """

    cycles: int | None = None
    ramp: float | None = None
    ramp_shape: str | None = None

    def weight(self, position: float, length: float) -> float:
        """``shape(min(1, τ / ramp))``, with τ in [0, 1) the position within the cycle."""
        cycles = 4 if self.cycles is None else self.cycles
        ramp = 0.5 if self.ramp is None else self.ramp
        turns = position / length * cycles
        within = max(0.0, turns - math.floor(turns + _ROUNDING))
        return ramp_of(self.ramp_shape or "linear", within, ramp)


@final
@dataclass(frozen=True, kw_only=True)
class Delayed(Schedule):
    """Zero for a while, then a ramp to one: an autoencoder first, whose latents get a prior later.

    Attributes:
        delay: How long the weight stays zero; a quarter of the training if None.
        warmup: Length of the ramp after that; a quarter of the training if None.
        ramp_shape: How it rises, one of `vae_models.config.RAMP_SHAPES`; linearly if None.
    """

    delay: float | None = None
    warmup: float | None = None
    ramp_shape: str | None = None

    def weight(self, position: float, length: float) -> float:
        """``shape(min(1, max(0, position - delay) / warmup))``."""
        delay = length / 4 if self.delay is None else self.delay
        warmup = length / 4 if self.warmup is None else self.warmup
        return ramp_of(self.ramp_shape or "linear", position - delay, warmup)


@final
@dataclass(frozen=True, kw_only=True)
class Stepwise(Schedule):
    """A table: zero before the first milestone, and from each milestone on its weight.

    Attributes:
        milestones: Positions at which the weight changes, rising.
        milestone_weights: The weight from each milestone on; the last is the finished model's.
    """

    milestones: tuple[float, ...]
    milestone_weights: tuple[float, ...]

    def weight(self, position: float, length: float) -> float:  # noqa: ARG002
        """The weight of the last milestone at or before the position; zero if there is none."""
        passed = bisect_right(self.milestones, position)
        return self.milestone_weights[passed - 1] if passed else 0.0


_BY_NAME: Mapping[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
    "cyclical": Cyclical,
    "delayed": Delayed,
    "stepwise": Stepwise,
}


def schedule_of(config: ObjectiveConfig) -> Schedule:
    """The schedule that an objective names, with the parameters that it reads."""
    names = SCHEDULE_PARAMETERS[config.annealing]
    return _BY_NAME[config.annealing](**{name: getattr(config, name) for name in names})


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
