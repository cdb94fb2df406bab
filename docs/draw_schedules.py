"""Draws every annealing schedule into docs/schedules.png.

From the repository's root: ``python docs/draw_schedules.py``
"""
# ruff: noqa: INP001 (a script, in no package)

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.style import MUTED, PALETTE, PNG_DPI, drawing_style
from vae_models.config import RAMP_SHAPES, SCHEDULES, ObjectiveConfig
from vae_models.schedules import schedule_of

PLACE = Path(__file__).with_name("schedules.png")
POINTS = 1601
STYLES = ("-", (0, (4, 1.5)), (0, (1, 1)))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One schedule.

    Attributes:
        annealing: Its name.
        title: Its key parameters, under the name.
        curves: Parameters by the label of their curve; a label with an underscore stands in
            no legend.
    """

    annealing: str
    title: str
    curves: Mapping[str, dict[str, Any]]


WARM_UPS = {"warmup 0.5 (default)": {}, "warmup 0.25": {"warmup": 0.25}}
STEEPNESSES = {
    "steepness 40 (default)": {},
    "steepness 20": {"steepness": 20},
    "steepness 80": {"steepness": 80},
}
RAMPS = {f"{shape} ramp": {"ramp_shape": shape} for shape in RAMP_SHAPES}
TWO_CYCLES = {
    f"_{shape}": {"cycles": 2, "ramp": 0.8, "ramp_shape": shape} for shape in RAMP_SHAPES
}
TABLE = {"_": {"milestones": (0.2, 0.4, 0.7), "milestone_weights": (0.1, 0.4, 1.0)}}

PANELS = (
    Panel(annealing="constant", title="no parameters", curves={"_": {}}),
    Panel(annealing="linear", title="warmup", curves=WARM_UPS),
    Panel(annealing="cosine", title="warmup", curves=WARM_UPS),
    Panel(annealing="sigmoid", title="midpoint 0.25, steepness", curves=STEEPNESSES),
    Panel(annealing="delayed", title="delay 0.25, warmup 0.25, ramp_shape", curves=RAMPS),
    Panel(annealing="cyclical", title="cycles 4, ramp 0.5 (default)", curves={"_": {}}),
    Panel(annealing="cyclical", title="cycles 2, ramp 0.8, each ramp_shape", curves=TWO_CYCLES),
    Panel(annealing="stepwise", title="milestones 0.2, 0.4, 0.7", curves=TABLE),
)


def draw_schedules(place: Path) -> None:
    """Writes the drawing; it must have every schedule."""
    if {panel.annealing for panel in PANELS} != set(SCHEDULES):
        message = f"PANELS must have every one of {SCHEDULES}."
        raise ValueError(message)
    with drawing_style():
        figure = Figure(figsize=(10.0, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(2, 4, sharex=True, sharey=True)
        for axes, panel in zip(grid.flat, PANELS, strict=True):
            _draw(axes, panel)
        figure.supxlabel("position in the training (fraction of its steps)", size=8.5)
        figure.supylabel("weight of the KL (share of its full weight)", size=8.5)
        figure.savefig(place, dpi=PNG_DPI, metadata={"Software": None})


def _draw(axes: Axes, panel: Panel) -> None:
    positions = np.arange(POINTS) / POINTS
    for (label, parameters), colour, dashes in zip(
        panel.curves.items(), PALETTE, STYLES, strict=False
    ):
        schedule = schedule_of(ObjectiveConfig(annealing=panel.annealing, **parameters))
        weights = np.array([schedule.weight(position, 1.0) for position in positions])
        jumps = np.abs(np.diff(weights, prepend=weights[0])) > 0.05
        shown = np.where(jumps, np.nan, weights)
        axes.plot(positions, shown, color=colour, linestyle=dashes, label=label)
    axes.set_title(panel.annealing, loc="left", fontweight="bold", pad=14)
    axes.text(0, 1.03, panel.title, transform=axes.transAxes, color=MUTED, size=7.5)
    axes.set(xlim=(0, 1), ylim=(-0.03, 1.05), yticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right")


if __name__ == "__main__":
    draw_schedules(PLACE)
