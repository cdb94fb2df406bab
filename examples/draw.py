"""Draws columns of a study against a setting: means over seeds as lines, every trial as a dot.

python examples/draw.py beta-norm --x beta_norm --y rate_nats distortion_se --by latent_dim --out beta-norm.png
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style
from studies.database import open_database
from studies.queries import query_trials
from studies.records import TrialRecord

LABELS = {
    "beta": "canonical β",
    "beta_norm": "β_norm = βM/N",
    "level": "t = βσ²",
    "rate_nats": "R, nats per example",
    "distortion_se": "D, squared error per example",
    "distortion_nll_nats": "D, nats per example",
    "active_units": "active latents",
    "latent_dim": "latents M",
}
LOGARITHMIC = ("beta", "beta_norm", "level")
MARKERS = "osD^vPX*"


def value_of(trial: TrialRecord, column: str) -> float | str:
    """A column of the record; "a+b" joins two of them."""
    parts = [getattr(trial, part) for part in column.split("+")]
    return parts[0] if len(parts) == 1 else ", ".join(map(str, parts))


def draw(
    trials: list[TrialRecord], x: str, ys: list[str], by: str, *, log: bool = False
) -> Figure:
    """One panel for each of `ys` over `x`, one colour and marker for each value of `by`."""
    groups = sorted({value_of(trial, by) for trial in trials}, key=lambda g: (str(type(g)), g))
    places = _places(trials, x)
    with style.drawing_style():
        figure = style.new_figure(2.3 * len(ys) + 0.5, layout="constrained")
        panels = figure.subplots(len(ys), sharex=True, squeeze=False)[:, 0]
        for axes, y in zip(panels, ys, strict=True):
            for index, group in enumerate(groups):
                members = [trial for trial in trials if value_of(trial, by) == group]
                _draw_group(axes, members, places, (x, y), index, str(group))
            axes.set_ylabel(LABELS.get(y, y))
            if log:
                axes.set_yscale("log")
        _set_x(panels[-1], places, x)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=4, title=LABELS.get(by, by)
        )
    return figure


def _places(trials: list[TrialRecord], x: str) -> dict[str, float] | None:
    """Where names stand on the axis; None for numbers."""
    values = {value_of(trial, x) for trial in trials}
    if not any(isinstance(value, str) for value in values):
        return None
    return {name: float(place) for place, name in enumerate(sorted(map(str, values)))}


def _draw_group(
    axes: Axes,
    trials: list[TrialRecord],
    places: dict[str, float] | None,
    columns: tuple[str, str],
    index: int,
    label: str,
) -> None:
    x, y = columns
    found: dict[float, list[float]] = defaultdict(list)
    for trial in trials:
        place, height = value_of(trial, x), getattr(trial, y)
        if place is not None and height is not None:
            found[places[str(place)] if places else float(place)].append(float(height))
    colour, marker = style.PALETTE[index % len(style.PALETTE)], MARKERS[index % len(MARKERS)]
    ordered = sorted(found)
    xs = [place for place in ordered for _ in found[place]]
    heights = [height for place in ordered for height in found[place]]
    axes.scatter(xs, heights, s=9, color=colour, alpha=0.45, linewidths=0)
    means = [fmean(found[place]) for place in ordered]
    line = "none" if places else "-"
    axes.plot(
        ordered, means, linestyle=line, marker=marker, markersize=4, color=colour, label=label
    )


def _set_x(axes: Axes, places: dict[str, float] | None, x: str) -> None:
    axes.set_xlabel(LABELS.get(x, x))
    if places:
        axes.set_xticks(list(places.values()), list(places), rotation=30, ha="right")
    elif x in LOGARITHMIC:
        axes.set_xscale("log")


def main() -> None:
    """Reads the command line and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("--storage", default="sqlite:///rdsweep.db")
    parser.add_argument("--where", help="a condition, as for rdsweep query")
    parser.add_argument("--x", default="beta")
    parser.add_argument("--y", nargs="+", default=["rate_nats", "distortion_se"])
    parser.add_argument("--by", default="latent_dim")
    parser.add_argument("--log", action="store_true", help="logarithmic y axes")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = query_trials(open_database(options.storage), options.study, where=options.where)
    trials = [trial for trial in found if trial.state == "complete"]
    figure = draw(trials, options.x, options.y, options.by, log=options.log)
    with style.drawing_style():
        figure.savefig(options.out, dpi=style.PNG_DPI)


if __name__ == "__main__":
    main()
