"""How the hypervolume grew as trials finished: whether the search was still finding things."""

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reports import style
from reports.distortion import DistortionMeasure
from reports.dossier import Dossier
from reports.numbers_text import short, tick, trimmed
from studies.fronts import hypervolume_history

_LATE_SHARE: Final = 0.75


@final
@dataclass(frozen=True, kw_only=True)
class HypervolumeGrowth:
    """The hypervolume after each finished trial, in nats × the unit of the distortion.

    `numbers` are the trials in the order in which they finished; `without_result` holds the
    places (from 1) of those that diverged or failed, after which the hypervolume is unchanged.
    """

    measure: DistortionMeasure
    numbers: tuple[int, ...]
    hypervolumes: tuple[float, ...]
    without_result: tuple[int, ...]
    reference: tuple[float, float]

    def improvements(self) -> tuple[int, ...]:
        """Returns the places (from 1) of the trials that enlarged the hypervolume."""
        before = (0.0, *self.hypervolumes[:-1])
        pairs = zip(before, self.hypervolumes, strict=True)
        return tuple(place for place, (old, new) in enumerate(pairs, start=1) if new > old)

    def late_share(self) -> float | None:
        """Returns which share of the hypervolume the last quarter of the trials added."""
        if len(self.hypervolumes) < 8 or self.hypervolumes[-1] <= 0:
            return None
        early = self.hypervolumes[math.ceil(_LATE_SHARE * len(self.hypervolumes)) - 1]
        return 1.0 - early / self.hypervolumes[-1]


def hypervolume_growth(dossier: Dossier) -> HypervolumeGrowth:
    """Returns the record of a study's hypervolume; empty before the first trial has finished."""
    finished = [t for t in dossier.trials if t.state in {"complete", "diverged", "failed"}]
    finished.sort(key=lambda t: (t.finished_at if t.finished_at is not None else 0.0, t.number))
    measured = {trial.number for trial in dossier.measured()}
    points = np.full((len(finished), 2), np.nan)
    for place, trial in enumerate(finished):
        if trial.number in measured:
            points[place] = (trial.rate_nats, dossier.measure.of(trial))
    history = hypervolume_history(points, dossier.reference) if finished else ()
    return HypervolumeGrowth(
        measure=dossier.measure,
        numbers=tuple(trial.number for trial in finished),
        hypervolumes=tuple(float(value) for value in history),
        without_result=tuple(
            place for place, t in enumerate(finished, start=1) if t.number not in measured
        ),
        reference=dossier.reference,
    )


def draw_hypervolume(growth: HypervolumeGrowth) -> Figure:
    """Returns the figure of the hypervolume over the finished trials."""
    places = np.arange(1, len(growth.hypervolumes) + 1)
    values = np.asarray(growth.hypervolumes)
    improved = np.asarray(growth.improvements(), dtype=int)
    with style.drawing_style():
        figure = style.new_figure(2.7, layout="constrained")
        axes = figure.add_subplot()
        axes.step(places, values, where="post", color=style.INK, linewidth=1.2)
        axes.plot(
            improved,
            values[improved - 1],
            linestyle="none",
            marker="o",
            markersize=3.0,
            color=style.INK,
            label="the front grew",
        )
        _draw_lost_trials(axes, growth)
        _set_axes(axes, growth)
        _draw_reference(axes, growth)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def caption_of(growth: HypervolumeGrowth) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    rate, distortion = growth.reference
    text = (
        "The hypervolume is the area between the front and the reference point "
        f"R = {trimmed(rate, 4)} nats, D = {trimmed(distortion, 4)} ({growth.measure.unit}), which is "
        "fixed for the study; larger is better, and it can only rise. Trials stand in the order "
        "in which they finished; a dot marks one that enlarged the hypervolume. A curve that is "
        "still rising at its end says that more trials are worth their time."
    )
    late = growth.late_share()
    if late is not None:
        text += f" Here the last quarter of the trials added {short(100 * late, 2)}% of it."
    return text


def alt_of(growth: HypervolumeGrowth) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    if not growth.hypervolumes:
        return "Hypervolume without any finished trial."
    return (
        f"Hypervolume over {len(growth.hypervolumes)} finished trials, rising in "
        f"{len(growth.improvements())} steps to {short(growth.hypervolumes[-1], 4)}."
    )


def _draw_lost_trials(axes: Axes, growth: HypervolumeGrowth) -> None:
    if not growth.without_result:
        return
    axes.plot(
        growth.without_result,
        [0.0] * len(growth.without_result),
        linestyle="none",
        marker="|",
        markersize=7,
        markeredgewidth=1.4,
        color=style.ALARM,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        label="diverged or failed",
    )


def _draw_reference(axes: Axes, growth: HypervolumeGrowth) -> None:
    rate, distortion = growth.reference
    axes.text(
        0.99,
        0.06,
        f"reference point: R = {trimmed(rate, 4)} nats, D = {trimmed(distortion, 4)}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=7.5,
        color=style.MUTED,
    )


def _set_axes(axes: Axes, growth: HypervolumeGrowth) -> None:
    axes.set_xlabel("trials finished")
    axes.set_ylabel(f"hypervolume\n(nats × {growth.measure.unit})")
    axes.set_xlim(0.5, max(len(growth.hypervolumes), 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(round(value, 10))))
    positive = [value for value in growth.hypervolumes if value > 0]
    if not positive:
        axes.set_ylim(0.0, 1.0)
        return
    low, high = min(positive), max(positive)
    if low == high:
        low = 0.0
    margin = 0.07 * (high - low)
    axes.set_ylim(max(low - margin, 0.0), high + margin)
