"""The colour of β: one logarithmic scale for all figures of a report."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, LogNorm, to_rgba

from reports import style

_DARKEST_TO_LIGHTEST: Final = (0.0, 0.93)
"""viridis without its palest yellows, which vanish on paper."""


@final
@dataclass(frozen=True, kw_only=True)
class BetaScale:
    """A logarithmic colour scale from the smallest to the largest canonical β, both positive."""

    low: float
    high: float

    def norm(self) -> LogNorm:
        """Returns the map from β to 0…1; a β of 0 gets the colour of the lowest."""
        return LogNorm(vmin=self.low, vmax=self.high, clip=True)

    def colour(self, beta: float | None) -> tuple[float, float, float, float]:
        """Returns the colour of one β as red, green, blue and opacity; grey for no β."""
        if beta is None:
            return to_rgba(style.MUTED)
        position = float(self.norm()(max(beta, self.low)))
        red, green, blue, opacity = beta_colormap()(position)
        return float(red), float(green), float(blue), float(opacity)

    def ticks(self) -> tuple[float, ...]:
        """Returns the values to print beside the colour bar."""
        return log_ticks(self.low, self.high)


def beta_scale_of(betas: Iterable[float | None]) -> BetaScale:
    """Returns the scale that spans the positive, finite ones of these β, at least a factor of 4."""
    usable = [beta for beta in betas if beta is not None and math.isfinite(beta) and beta > 0]
    low, high = (min(usable), max(usable)) if usable else (1.0, 1.0)
    if high / low < 4:
        centre = math.sqrt(low * high)
        low, high = centre / 2, centre * 2
    return BetaScale(low=low, high=high)


def beta_colormap() -> Colormap:
    """Returns viridis, cut at its pale end: ordered in lightness, so it survives grey print."""
    viridis = mpl.colormaps["viridis"]
    return ListedColormap(viridis(np.linspace(*_DARKEST_TO_LIGHTEST, 256)), name="rdsweep_beta")


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Returns round values (powers of ten; with 2 and 5 where these are few) within the range."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)):
        ticks = [step * 10.0**power for power in decades for step in steps]
        inside = [value for value in ticks if low * 0.999 <= value <= high * 1.001]
        if len(inside) >= 3:
            return tuple(_thinned(inside, 7))
    return (low, high)


def _thinned(values: Sequence[float], most: int) -> Sequence[float]:
    return values[:: math.ceil(len(values) / most)]
