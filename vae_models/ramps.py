"""Ramps: the shapes in which a weight can rise from exactly zero to exactly one."""

import math
from collections.abc import Callable, Mapping

__all__ = ["RAMPS", "cosine_ramp", "linear_ramp", "ramp_of", "sigmoid_ramp"]

_SIGMOID_SPAN = 12.0  # from -6 to 6 in the exponent, as in the code of Fu et al. 2019


def linear_ramp(share: float) -> float:
    """``x``.

    Args:
        share: x in [0, 1], how much of the ramp is behind.
    """
    return share


def cosine_ramp(share: float) -> float:
    """``½ (1 - cos(pi x))``: flat at both ends."""
    return 0.5 * (1.0 - math.cos(math.pi * share))


def sigmoid_ramp(share: float) -> float:
    """``½ (1 + tanh(6 x - 3) / tanh(3))``.

    It is the logistic curve ``1 / (1 + exp(6 - 12 x))`` that the code of Fu et al. (2019,
    https://github.com/haofuml/cyclical_annealing) draws, rescaled so that it runs from 0 to 1
    instead of from 0.0025 to 0.9975.
    """
    half = _SIGMOID_SPAN / 4
    return 0.5 * (1.0 + math.tanh(half * (2.0 * share - 1.0)) / math.tanh(half))


RAMPS: Mapping[str, Callable[[float], float]] = {
    "linear": linear_ramp,
    "cosine": cosine_ramp,
    "sigmoid": sigmoid_ramp,
}
"""Every ramp by its name, one for each of `vae_models.config.RAMP_SHAPES`."""


def ramp_of(shape: str, position: float, length: float) -> float:
    """The weight at a position on a ramp: 0 before it, 1 from its end on.

    A ramp of length zero is a step: 1 at position zero already.

    Args:
        shape: One of `RAMPS`.
        position: How far the ramp's start lies behind; negative before it.
        length: Of the ramp, in the same unit.
    """
    if position >= length:
        return 1.0
    return RAMPS[shape](position / length) if position > 0 else 0.0
