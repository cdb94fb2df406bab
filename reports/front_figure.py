"""The front on the rate–distortion plane: every complete trial, and what it could have reached."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports import style
from reports.beta_scale import BetaScale, beta_colormap, beta_scale_of, log_ticks
from reports.distortion import RATE_LABEL
from reports.front_plane import FrontPlane, FrontPoint
from reports.numbers_text import tick

_MANY_POINTS: Final = 2000
"""From here on markers become pixels within an SVG or PDF, which would be too large otherwise."""
_LABEL_GAP: Final = 0.045
"""Least distance between two labelled front trials, as a share of the axes."""


def draw_front(plane: FrontPlane, scale: BetaScale | None = None) -> Figure:
    """Returns the figure of the rate–distortion plane.

    Args:
        plane: What to draw.
        scale: Colours of β; by default the scale that spans these points.
    """
    colours = scale or beta_scale_of(point.beta for point in plane.points)
    with style.drawing_style():
        figure = style.new_figure(4.6, layout="constrained")
        axes = figure.add_subplot()
        _set_axes(axes, plane)
        handles = [*_draw_bound(axes, plane), *_draw_elbo_lines(axes, plane)]
        handles += _draw_staircase(axes, plane)
        handles += _draw_points(axes, plane, colours)
        _draw_notes(axes, plane)
        if plane.points:
            _draw_colour_bar(figure, axes, colours)
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _set_axes(axes: Axes, plane: FrontPlane) -> None:
    axes.set_xlabel(RATE_LABEL)
    axes.set_ylabel(plane.measure.axis_label)
    axes.set_xlim(plane.rates.low, plane.rates.high)
    if plane.distortions.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(
            FixedLocator(log_ticks(plane.distortions.low, plane.distortions.high))
        )
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_ylim(plane.distortions.low, plane.distortions.high)


def _draw_bound(axes: Axes, plane: FrontPlane) -> list[Line2D]:
    if not plane.bound:
        return []
    rates, distortions = zip(*plane.bound, strict=True)
    label = (
        "Shannon bound of the source"
        if plane.gaussian_source
        else "Shannon bound of a Gaussian\nwith the data's covariance"
    )
    return axes.plot(
        rates, distortions, color=style.BOUND, linewidth=1.6, linestyle=(0, (5, 2)), label=label
    )


def _draw_elbo_lines(axes: Axes, plane: FrontPlane) -> list[Line2D]:
    rates = np.linspace(plane.rates.low, plane.rates.high, 2)
    lines: list[Line2D] = []
    for level in plane.elbo_levels:
        label = "equal ELBO (numbers: D + R in nats)" if not lines else "_"
        lines += axes.plot(
            rates, level - rates, color=style.FAINT, linewidth=0.7, zorder=0.5, label=label
        )
        _label_elbo_line(axes, plane, level)
    return lines[:1]


def _label_elbo_line(axes: Axes, plane: FrontPlane, level: float) -> None:
    """Writes the level above the plane, or where the line leaves it if it comes from the left."""
    rates, distortions = plane.rates, plane.distortions
    from_above = rates.low <= level - distortions.high <= rates.high
    at_bottom = level - distortions.low <= rates.high
    rate = rates.high
    if from_above:
        rate = level - distortions.high
    elif at_bottom:
        rate = level - distortions.low
    axes.annotate(
        tick(level),
        (rate, level - rate),
        xytext=(0, 1.5) if from_above else (-2, 1.5),
        textcoords="offset points",
        ha="center" if from_above else "right",
        va="bottom",
        color=style.MUTED,
        fontsize=6.5,
        zorder=0.6,
        annotation_clip=False,
    )


def _draw_staircase(axes: Axes, plane: FrontPlane) -> list[Line2D]:
    front = plane.front()
    if not front:
        return []
    rates = [front[0].rate_nats, *(point.rate_nats for point in front), plane.rates.high]
    levels = [point.distortion for point in front]
    distortions = [max(plane.distortions.high, levels[0]), *levels, levels[-1]]
    return axes.plot(
        rates,
        distortions,
        drawstyle="steps-post",
        color=style.INK,
        linewidth=1.0,
        zorder=2,
        label=f"front ({len(front)} of {len(plane.points)} trials)",
    )


def _draw_points(axes: Axes, plane: FrontPlane, scale: BetaScale) -> list[Line2D]:
    markers = style.markers_of(point.kind for point in plane.points)
    shown = [point for point in plane.points if plane.shows(point)]
    for on_front in (False, True):
        for kind, marker in markers.items():
            group = [p for p in shown if (p.on_front, p.kind) == (on_front, kind)]
            _draw_group(axes, group, marker, scale, on_front=on_front)
    _label_front(axes, plane)
    return [*_marker_handles(markers, plane.marked), *_draw_collapsed(axes, shown)]


def _draw_group(
    axes: Axes, group: Sequence[FrontPoint], marker: str, scale: BetaScale, *, on_front: bool
) -> None:
    if not group:
        return
    axes.scatter(
        [point.rate_nats for point in group],
        [point.distortion for point in group],
        s=34.0 if on_front else 19.0,
        marker=marker,
        facecolors=[scale.colour(point.beta) for point in group],
        edgecolors=style.INK if on_front else "white",
        linewidths=0.8 if on_front else 0.4,
        clip_on=False,
        zorder=4 if on_front else 3,
        rasterized=len(group) > _MANY_POINTS,
    )


def _marker_handles(markers: Mapping[str, str], marked: str) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=marker,
            markersize=5.0,
            markerfacecolor=style.FAINT,
            markeredgecolor=style.INK,
            markeredgewidth=0.7,
            label=f"{marked}: {style.plain(name)}",
        )
        for name, marker in markers.items()
    ]


def _draw_collapsed(axes: Axes, shown: Sequence[FrontPoint]) -> list[Line2D]:
    collapsed = [point for point in shown if point.collapsed]
    if not collapsed:
        return []
    return axes.plot(
        [point.rate_nats for point in collapsed],
        [point.distortion for point in collapsed],
        linestyle="none",
        marker="x",
        markersize=7.5,
        markeredgecolor=style.ALARM,
        markeredgewidth=1.3,
        clip_on=False,
        zorder=5,
        label="collapsed (no active unit)",
    )


def _label_front(axes: Axes, plane: FrontPlane) -> None:
    """Writes trial numbers below the front, in the region that no trial reaches."""
    to_share = axes.transLimits
    last = None
    for point in plane.front():
        if not plane.shows(point):
            continue
        height = np.log10(point.distortion) if plane.distortions.log else point.distortion
        place = np.asarray(to_share.transform((point.rate_nats, height)))
        if last is not None and np.abs(place - last).max() < _LABEL_GAP:
            continue
        last = place
        axes.annotate(
            f"{point.number}",
            (point.rate_nats, point.distortion),
            xytext=(-3.5, -3.5),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=6.5,
            color=style.INK,
            path_effects=[withStroke(linewidth=1.6, foreground="white")],
            zorder=6,
        )


def _draw_notes(axes: Axes, plane: FrontPlane) -> None:
    note = "no complete trial yet" if not plane.points else ""
    outside = plane.outside()
    if outside:
        note = f"{len(outside)} of {len(plane.points)} trials off scale"
    axes.text(
        0.99,
        0.985,
        note,
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=7.5,
        color=style.MUTED,
    )


def _draw_colour_bar(figure: Figure, axes: Axes, scale: BetaScale) -> None:
    mappable = ScalarMappable(norm=scale.norm(), cmap=beta_colormap())
    bar = figure.colorbar(mappable, ax=axes, pad=0.02, aspect=28)
    bar.set_label("canonical β (log scale)")
    bar.ax.yaxis.set_major_locator(FixedLocator(scale.ticks()))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    bar.outline.set_linewidth(0.5)
