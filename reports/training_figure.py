"""Both terms of the loss over training, unweighted, and the annealing weight beneath."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from reports import style
from reports.axis_limits import AxisLimits, limits_of
from reports.beta_scale import BetaScale, beta_scale_of, log_ticks
from reports.distortion import DistortionMeasure
from reports.dossier import SHOWN, Dossier, spread
from reports.numbers_text import tick, trimmed
from studies.records import EpochRecord, TrialRecord

_COLLAPSED_SHOWN: Final = 12
_NATS_FOR_LOG: Final = 10.0
_NUMBER_GAP: Final = 0.085
"""Distance of two trial numbers at the right, as a share of a panel's height."""


@final
@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """One trial's training; NaN at epochs that were not stored.

    Rates in nats, distortions in the study's unit, both at β = 1 and averaged over an epoch.
    """

    number: int
    beta: float | None
    reduction: str
    collapsed: bool
    on_front: bool
    epochs: tuple[int, ...]
    rates_nats: tuple[float, ...]
    distortions: tuple[float, ...]
    weights: tuple[float, ...]


@final
@dataclass(frozen=True, kw_only=True)
class TrainingCurves:
    """The curves of the front trials (low to high rate) and of some collapsed ones."""

    measure: DistortionMeasure
    front: tuple[TrainingCurve, ...]
    front_size: int
    collapsed: tuple[TrainingCurve, ...]


def training_curves(dossier: Dossier) -> TrainingCurves:
    """Returns the record of training; trials without any stored epoch are left out."""
    front = dossier.front()
    on_front = {trial.number for trial in front}
    collapsed = [trial for trial in dossier.collapsed() if trial.number not in on_front]
    shown = spread(front, SHOWN)
    return TrainingCurves(
        measure=dossier.measure,
        front=tuple(_curve(dossier, t, on_front=True) for t in shown if _stored(dossier, t)),
        front_size=len(front),
        collapsed=tuple(
            _curve(dossier, t, on_front=False)
            for t in spread(collapsed, _COLLAPSED_SHOWN)
            if _stored(dossier, t)
        ),
    )


def draw_training(curves: TrainingCurves, scale: BetaScale | None = None) -> Figure:
    """Returns the figure: rate above, distortion in the middle, annealing weight beneath."""
    colours = scale or beta_scale_of(curve.beta for curve in curves.front)
    with style.drawing_style():
        figure = style.new_figure(4.9, layout="constrained")
        rate, distortion, weight = figure.subplots(3, sharex=True, height_ratios=(3, 3, 1.5))
        panels = (rate, distortion, weight)
        for curve in curves.collapsed:
            _draw_curve(panels, curve, style.FAINT, 0.8, "")
        markers = style.markers_of(curve.reduction for curve in curves.front)
        for curve in curves.front:
            _draw_curve(panels, curve, colours.colour(curve.beta), 1.3, markers[curve.reduction])
        _set_axes(panels, curves)
        _draw_numbers(rate, curves.front, [curve.rates_nats for curve in curves.front])
        _draw_numbers(distortion, curves.front, [curve.distortions for curve in curves.front])
        figure.align_ylabels()
        handles = _handles(curves, colours)
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def caption_of(curves: TrainingCurves) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    which = "the front trials"
    if len(curves.front) < curves.front_size:
        which = f"{len(curves.front)} of the {curves.front_size} front trials, evenly along it"
    text = (
        f"Rate and distortion of {which}, averaged over each epoch of training, both at β = 1 "
        "whatever the trial was trained with, so that the lines compare. Beneath, the annealing "
        "weight that multiplies the weight of the trial's regulariser (the capacity itself, where "
        "there is one): while it is low, the rate may rise; where it reaches 1, the trial pays its "
        "full price. Lines that are still sloping at their end "
        "say that the trial wanted more epochs."
    )
    if _rate_limits(curves).high >= _NATS_FOR_LOG:
        text += " The axis of R is linear up to 1 nat and logarithmic from there."
    if curves.collapsed:
        text += (
            f" {len(curves.collapsed)} collapsed trials are drawn in grey: their rate falls to "
            "zero and their distortion stays where it would be without any latent."
            if len(curves.collapsed) > 1
            else " One collapsed trial is drawn in grey: its rate falls to zero and its "
            "distortion stays where it would be without any latent."
        )
    return text


def alt_of(curves: TrainingCurves) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    last = max((curve.epochs[-1] for curve in curves.front + curves.collapsed), default=0)
    return (
        f"Three panels over {last} epochs: rate, distortion and annealing weight of "
        f"{len(curves.front)} front trials and {len(curves.collapsed)} collapsed trials."
    )


def _stored(dossier: Dossier, trial: TrialRecord) -> bool:
    return bool(dossier.epochs.get(trial.number))


def _curve(dossier: Dossier, trial: TrialRecord, *, on_front: bool) -> TrainingCurve:
    stored = {record.epoch: record for record in dossier.epochs[trial.number]}
    epochs = tuple(range(min(stored), max(stored) + 1))
    records = [stored.get(epoch) for epoch in epochs]
    nll = dossier.measure.kind == "nll"
    return TrainingCurve(
        number=trial.number,
        beta=trial.beta,
        reduction=trial.reduction,
        collapsed=bool(trial.collapsed),
        on_front=on_front,
        epochs=epochs,
        rates_nats=tuple(r.rate_nats if r else math.nan for r in records),
        distortions=tuple(_distortion(r, nll=nll) for r in records),
        weights=tuple(r.annealing_weight if r else math.nan for r in records),
    )


def _distortion(record: EpochRecord | None, *, nll: bool) -> float:
    if record is None:
        return math.nan
    return record.distortion_nll_nats if nll else record.distortion_se


def _draw_curve(
    panels: Sequence[Axes],
    curve: TrainingCurve,
    colour: str | tuple[float, ...],
    width: float,
    marker: str,
) -> None:
    marked = [place for place in range(len(curve.epochs)) if _alone(curve, place)]
    for axes, values in zip(
        panels, (curve.rates_nats, curve.distortions, curve.weights), strict=True
    ):
        axes.plot(
            curve.epochs,
            values,
            color=colour,
            linewidth=width,
            marker=marker or ".",
            markersize=4.2 if marker else 2.0,
            markeredgecolor="white" if marker else colour,
            markeredgewidth=0.4,
            markevery=marked,
            zorder=3 if curve.on_front else 2,
        )


def _alone(curve: TrainingCurve, place: int) -> bool:
    """Returns whether a point needs a marker: it ends the curve, or has no neighbour to join."""
    values = curve.rates_nats
    last = place == len(values) - 1
    left = place > 0 and not math.isnan(values[place - 1])
    right = not last and not math.isnan(values[place + 1])
    return last or not (left or right)


def _set_axes(panels: Sequence[Axes], curves: TrainingCurves) -> None:
    rate, distortion, weight = panels
    every = curves.front + curves.collapsed
    distortions = _finite(value for curve in every for value in curve.distortions)
    _apply_rates(rate, _rate_limits(curves))
    _apply(distortion, limits_of(distortions, may_be_log=True, from_zero=False))
    weights = _finite(value for curve in every for value in curve.weights)
    weight.set_ylim(-0.08, 1.12 * max([1.0, *weights]))
    rate.set_ylabel("rate R (nats)")
    distortion.set_ylabel(f"{curves.measure.symbol.split()[0]} ({curves.measure.unit})")
    weight.set_ylabel("annealing\nweight")
    weight.set_xlabel("epoch")
    weight.xaxis.set_major_locator(MaxNLocator(integer=True))
    longest = max((curve.epochs[-1] for curve in every), default=1)
    weight.set_xlim(1 - 0.02 * longest, longest + 0.03 * longest + 0.02)


def _rate_limits(curves: TrainingCurves) -> AxisLimits:
    every = curves.front + curves.collapsed
    rates = _finite(value for curve in every for value in curve.rates_nats)
    return limits_of(rates, may_be_log=False, from_zero=True)


def _apply_rates(axes: Axes, limits: AxisLimits) -> None:
    """Sets a scale that shows high rates and low ones: linear to 1 nat, logarithmic from there."""
    if limits.high < _NATS_FOR_LOG:
        _apply(axes, limits)
        return
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    axes.set_ylim(-0.12, limits.high * 1.15)
    axes.yaxis.set_major_locator(FixedLocator((0.0, *log_ticks(1.0, limits.high))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def _draw_numbers(
    axes: Axes, curves: Sequence[TrainingCurve], values: Sequence[Sequence[float]]
) -> None:
    """Writes trial numbers at the right, each as near to the end of its curve as room allows."""
    to_share = axes.transScale + axes.transLimits
    ends = [next((v for v in reversed(series) if math.isfinite(v)), 0.0) for series in values]
    heights = [float(to_share.transform((1.0, end))[1]) for end in ends]
    places = pushed_apart(heights, _NUMBER_GAP)
    for curve, place in zip(curves, places, strict=True):
        axes.text(
            1.012,
            place,
            f"{curve.number}",
            transform=axes.transAxes,
            ha="left",
            va="center",
            fontsize=6.8,
            color=style.INK,
        )


def pushed_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Returns the heights, moved as little as a sweep needs to keep a gap between neighbours.

    Args:
        heights: Places on an axis from 0 to 1, in any order.
        gap: Least distance; reduced where the labels would not fit otherwise.
    """
    gap = min(gap, 1.0 / max(len(heights), 1))
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = [min(max(heights[index], 0.0), 1.0) for index in order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    ceiling = 1.0 + gap / 2
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    result = dict(zip(order, placed, strict=True))
    return [result[index] for index in range(len(heights))]


def _apply(axes: Axes, limits: AxisLimits) -> None:
    axes.set_ylim(limits.low, limits.high)
    if limits.log:
        axes.set_yscale("log")
        axes.set_ylim(limits.low, limits.high)
        axes.yaxis.set_major_locator(FixedLocator(log_ticks(limits.low, limits.high)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def _handles(curves: TrainingCurves, scale: BetaScale) -> list[Line2D]:
    markers = style.markers_of(curve.reduction for curve in curves.front)
    handles = [
        Line2D(
            [],
            [],
            color=scale.colour(curve.beta),
            marker=markers[curve.reduction],
            markersize=4.2,
            label=_label(curve),
        )
        for curve in curves.front
    ]
    if curves.collapsed:
        handles.append(Line2D([], [], color=style.FAINT, label="collapsed trials"))
    return handles


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _label(curve: TrainingCurve) -> str:
    beta = "no β" if curve.beta is None else f"β = {trimmed(curve.beta)}"
    return f"trial {curve.number}, {beta}"
