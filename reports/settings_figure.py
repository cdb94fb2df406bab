"""What each setting does on the plane: the same trials, once per setting, told apart by colour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports import style
from reports.axis_limits import AxisLimits
from reports.beta_scale import log_ticks
from reports.distortion import DistortionMeasure
from reports.dossier import Dossier
from reports.front_plane import FrontPlane, front_plane
from reports.numbers_text import tick
from reports.varied_settings import setting_of, varied_settings

_COLUMNS: Final = 2
_MOST_PANELS: Final = 6
_PANEL_INCHES: Final = 2.1
_FAR_RATES: Final = 8.0
_MARKERS: Final = ("o", "s", "^", "D", "P", "v", "X", "*")


@final
@dataclass(frozen=True, kw_only=True)
class SettingPanel:
    """One setting: for each of its values the (rate, distortion) of the trials that have it."""

    setting: str
    points: Mapping[str, tuple[tuple[float, float], ...]]


@final
@dataclass(frozen=True, kw_only=True)
class SettingPanels:
    """The panels of the figure, all on the axes of the front figure."""

    measure: DistortionMeasure
    rates: AxisLimits
    distortions: AxisLimits
    panels: tuple[SettingPanel, ...]
    bound: tuple[tuple[float, float], ...]

    @property
    def far_rates(self) -> bool:
        """Returns whether a few rates lie so far out that a linear axis would squeeze the others."""
        rates = [rate for points in self.panels[0].points.values() for rate, _ in points]
        return bool(rates) and max(rates) > _FAR_RATES * max(median(rates), 1.0)


def setting_panels(dossier: Dossier) -> SettingPanels:
    """Returns a panel for each named setting that differs between the measured trials."""
    plane = front_plane(dossier)
    varied = dict(list(varied_settings(dossier.measured()).items())[:_MOST_PANELS])
    return SettingPanels(
        measure=plane.measure,
        rates=plane.rates,
        distortions=plane.distortions,
        panels=tuple(_panel(dossier, plane, name, values) for name, values in varied.items()),
        bound=plane.bound,
    )


def draw_settings(panels: SettingPanels) -> Figure:
    """Returns the figure: panels side by side, each with its legend beneath.

    Raises:
        ValueError: There are no panels.
    """
    if not panels.panels:
        raise ValueError("A comparison of settings must have at least one panel, but got none.")
    columns = min(_COLUMNS, len(panels.panels))
    rows = -(-len(panels.panels) // columns)
    legend_rows = sum(_legend_rows(row) for row in _rows_of(panels.panels, columns))
    with style.drawing_style():
        figure = style.new_figure(rows * _PANEL_INCHES + 0.2 * legend_rows, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(panels.panels):
                axes.set_axis_off()
                continue
            below = place + columns < len(panels.panels)
            _draw_panel(axes, panels, panels.panels[place], lowest=not below)
            if place % columns == 0:
                axes.set_ylabel(f"{panels.measure.symbol}, {panels.measure.unit}")
    return figure


def caption_of(panels: SettingPanels) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    names = ", ".join(panel.setting for panel in panels.panels)
    far = panels.far_rates
    return (
        "The plane of the first figure again, once for each setting that the sweep varied "
        f"({names}): the same trials every time, coloured by that setting alone. Values whose "
        "markers lie along one curve only move a model along the trade-off; a value whose markers "
        "lie lower buys fidelity that the others do not reach at that rate. "
        "The faint line is the bound of the first figure."
        + (" The axis of R is linear up to 1 nat and logarithmic from there." if far else "")
    )


def alt_of(panels: SettingPanels) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    return "Rate–distortion planes, coloured by " + "; ".join(
        f"{panel.setting} ({', '.join(panel.points)})" for panel in panels.panels
    )


def _panel(
    dossier: Dossier, plane: FrontPlane, setting: str, values: Sequence[str]
) -> SettingPanel:
    kinds = {trial.number: setting_of(trial, setting) for trial in dossier.measured()}
    shown = [point for point in plane.points if plane.shows(point)]
    return SettingPanel(
        setting=setting,
        points={
            value: tuple((p.rate_nats, p.distortion) for p in shown if kinds[p.number] == value)
            for value in values
        },
    )


def _draw_panel(axes: Axes, panels: SettingPanels, panel: SettingPanel, *, lowest: bool) -> None:
    _set_axes(axes, panels)
    axes.set_title(panel.setting, loc="left")
    if panels.bound:
        axes.plot(*zip(*panels.bound, strict=True), color=style.FAINT, linewidth=1.0, zorder=1)
    for place, (value, points) in enumerate(panel.points.items()):
        axes.scatter(
            [rate for rate, _ in points],
            [distortion for _, distortion in points],
            s=13.0,
            marker=_MARKERS[place % len(_MARKERS)],
            facecolors=style.PALETTE[place % len(style.PALETTE)],
            edgecolors="white",
            linewidths=0.3,
            clip_on=False,
            zorder=2 + place,
            label=style.plain(value),
        )
    if lowest:
        axes.set_xlabel("R, nats")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.3 if lowest else -0.14),
        ncols=2,
        fontsize=6.8,
        handletextpad=0.1,
        columnspacing=0.8,
        borderaxespad=0.0,
    )


def _set_axes(axes: Axes, panels: SettingPanels) -> None:
    axes.set_xlim(panels.rates.low, panels.rates.high)
    if panels.far_rates:
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.set_xlim(-0.15, panels.rates.high * 1.3)
    limits = panels.distortions
    if limits.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator(log_ticks(limits.low, limits.high)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_ylim(limits.low, limits.high)


def _rows_of(panels: Sequence[SettingPanel], columns: int) -> list[Sequence[SettingPanel]]:
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def _legend_rows(row: Sequence[SettingPanel]) -> int:
    return max(-(-len(panel.points) // 2) for panel in row)
