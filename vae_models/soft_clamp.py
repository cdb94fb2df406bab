"""Smooth bounds for logarithms of scales, so that no exponential overflows and no gradient stops."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["clamped", "clamped_below", "inverse_of_clamped_below"]


def clamped_below(values: Float[Tensor, "..."], low: float) -> Float[Tensor, "..."]:
    """``low + softplus(values - low)``: the values where they lie well above `low`."""
    return low + softplus(values - low)


def clamped(values: Float[Tensor, "..."], low: float, high: float) -> Float[Tensor, "..."]:
    """The values where they lie well within (`low`, `high`), bent smoothly to stay within it."""
    return clamped_below(high - softplus(high - values), low)


def inverse_of_clamped_below(value: float, low: float) -> float:
    """The number that `clamped_below` maps to `value`, which must be above `low`."""
    gap = value - low
    return low + gap + math.log(-math.expm1(-gap))
