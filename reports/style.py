"""How every figure looks: size, type, colours, markers; no state of matplotlib outlives a drawing."""

import itertools
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH_INCHES: Final = 4.8
PNG_DPI: Final = 220

INK: Final = "#1b1f24"
MUTED: Final = "#6b7280"
FAINT: Final = "#c3c8d0"
ALARM: Final = "#d55e00"
"""Vermillion of Okabe & Ito (2008), "Color Universal Design": told apart in every kind of colour
vision, and on no place of the β colour scale."""
BOUND: Final = "#cc79a7"
"""Reddish purple of the same palette."""

PALETTE: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#1b1f24",
    "#a6a11b",
)
"""Okabe & Ito's colours for values without an order, the yellow darkened for white paper."""

_SETTINGS: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that files repeat on every machine
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 8.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.4,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "pdf.fonttype": 42,  # whole fonts: journals refuse type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "rdsweep",  # the ids in an SVG repeat
}

_KNOWN_MARKERS: Final = {
    "sum": "o",
    "mean": "s",
    "pixel_mean": "^",
    "latent_mean": "D",
    "batch_sum": "P",
}
_OTHER_MARKERS: Final = ("v", "X", "p", "h", "<", ">", "8")


def drawing_style() -> AbstractContextManager[None]:
    """Returns the context in which figures are drawn and saved, whatever the user's matplotlibrc."""
    return style.context(["default", _SETTINGS])


def new_figure(height_inches: float, *, layout: Literal["constrained"] | None) -> Figure:
    """Returns an empty figure of our width that belongs to no window and to no pyplot.

    Args:
        height_inches: Its height.
        layout: Whether matplotlib makes room for labels and legends, or we place every part.
    """
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def markers_of(reductions: Iterable[str]) -> dict[str, str]:
    """Returns one marker shape per reduction; a reduction has the same shape in every report."""
    present = set(reductions)
    others = sorted(present - _KNOWN_MARKERS.keys())
    known = {name: marker for name, marker in _KNOWN_MARKERS.items() if name in present}
    return known | dict(zip(others, itertools.cycle(_OTHER_MARKERS), strict=False))


def plain(text: str) -> str:
    """Returns the text so that matplotlib sets it as it is: no mathematics, no missing glyphs."""
    return text.encode("ascii", "backslashreplace").decode("ascii").replace("$", r"\$")
