"""Where an axis ends when a few trials lie far off."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

_SHARE_OUTSIDE: Final = 0.1
_FAR: Final = 2.5
_DECADES_FOR_LOG: Final = 1.5
_PADDING: Final = 0.05


@final
@dataclass(frozen=True, kw_only=True)
class AxisLimits:
    """Both ends of an axis, and whether it is logarithmic."""

    low: float
    high: float
    log: bool

    def contain(self, value: float) -> bool:
        """Returns whether a value is drawn."""
        return self.low <= value <= self.high


def far_limit(values: Sequence[float]) -> float:
    """Returns the largest value that still belongs to the others.

    Sorted values are cut at the widest relative gap in their top tenth, where the value above the
    gap is more than 2.5 times as far from the minimum as the value below it. A long tail without
    a gap stays whole: it may be the curve that the reader came for.

    Args:
        values: Finite numbers, at least one.
    """
    ordered = sorted(values)
    most_outside = math.ceil(len(ordered) * _SHARE_OUTSIDE) if len(ordered) >= 5 else 0
    for last in range(len(ordered) - 1 - most_outside, len(ordered) - 1):
        reach = ordered[last] - ordered[0]
        if reach > 0 and ordered[last + 1] - ordered[0] > _FAR * reach:
            return ordered[last]
    return ordered[-1]


def limits_of(values: Sequence[float], *, may_be_log: bool, from_zero: bool) -> AxisLimits:
    """Returns the limits for these values without the few that lie far off.

    Args:
        values: Finite numbers; with none of them the axis runs from 0 to 1.
        may_be_log: Take a logarithmic axis where positive values span 1.5 decades or more.
        from_zero: Start a linear axis just below zero rather than at the smallest value.
    """
    if not values:
        return AxisLimits(low=0.0, high=1.0, log=False)
    low, high = min(values), far_limit(values)
    if may_be_log and low > 0 and math.log10(high / low) >= _DECADES_FOR_LOG:
        factor = (high / low) ** _PADDING
        return AxisLimits(low=low / factor, high=high * factor, log=True)
    start = min(low, 0.0) if from_zero else low
    span = (high - start) or abs(high) or 1.0
    return AxisLimits(low=start - _PADDING * span, high=high + _PADDING * span, log=False)
