"""KL per latent of the trials along the front: how many latents each of them uses."""

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from reports import style
from reports.beta_scale import log_ticks
from reports.dossier import Dossier
from reports.numbers_text import rate_text, tick, trimmed
from studies.records import TrialRecord

_MOST_TRIALS: Final = 10
_MOST_ROWS: Final = 64
_LEAST_KL_NATS: Final = 1e-3


@final
@dataclass(frozen=True, kw_only=True)
class LatentUse:
    """One trial's latents, active ones first, each group from the largest KL to the smallest."""

    number: int
    beta: float | None
    rate_nats: float
    active: int
    kl_nats: tuple[float, ...]


@final
@dataclass(frozen=True, kw_only=True)
class LatentMap:
    """The latents of the front trials, from low to high rate.

    `threshold` is that of Cov_x(E_q[u|x]) above which a unit counts as active, None if the trials
    were measured with different ones or did not say.
    """

    uses: tuple[LatentUse, ...]
    front_size: int
    threshold: float | None

    def rows(self) -> int:
        """Returns how many latents are drawn: all, unless that would be mostly dead ones."""
        widest = max(len(use.kl_nats) for use in self.uses)
        most_active = max(use.active for use in self.uses)
        return min(widest, max(_MOST_ROWS, most_active + 4))

    def matrix(self) -> Float[np.ndarray, "row trial"]:
        """Returns the KL in nats per row and trial, NaN where a trial has fewer latents."""
        matrix = np.full((self.rows(), len(self.uses)), np.nan)
        for column, use in enumerate(self.uses):
            values = use.kl_nats[: self.rows()]
            matrix[: len(values), column] = values
        return matrix


def latent_map(dossier: Dossier) -> LatentMap:
    """Returns the record of the latents; trials without stored latents are left out."""
    shown = [t for t in dossier.shown_front(_MOST_TRIALS) if dossier.latents.get(t.number)]
    thresholds = {trial.active_threshold for trial in shown}
    return LatentMap(
        uses=tuple(_use(dossier, trial) for trial in shown),
        front_size=len(dossier.front()),
        threshold=thresholds.pop() if len(thresholds) == 1 else None,
    )


def draw_latents(latents: LatentMap) -> Figure:
    """Returns the heat map: latents downwards, trials along the front to the right."""
    matrix = latents.matrix()
    with style.drawing_style():
        figure = style.new_figure(_height(latents.rows()), layout="constrained")
        axes = figure.add_subplot()
        top = max(float(np.nanmax(matrix)), 10 * _LEAST_KL_NATS)
        image = axes.pcolormesh(
            np.arange(matrix.shape[1] + 1) - 0.5,
            np.arange(matrix.shape[0] + 1) + 0.5,
            np.ma.masked_invalid(np.maximum(matrix, _LEAST_KL_NATS)),
            norm=LogNorm(_LEAST_KL_NATS, top),
            cmap="cividis",
            rasterized=matrix.size > 4000,
            edgecolors="white" if matrix.size < 700 else "face",
            linewidth=0.4 if matrix.size < 700 else 0.0,
        )
        _draw_threshold(axes, latents)
        _set_axes(axes, latents)
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=28, extend="min")
        bar.set_label("KL per latent (nats)")
        bar.ax.yaxis.set_major_locator(FixedLocator(log_ticks(_LEAST_KL_NATS, top)))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        bar.outline.set_linewidth(0.5)
        figure.legend(loc="outside lower center")
    return figure


def caption_of(latents: LatentMap) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    threshold = "its threshold" if latents.threshold is None else trimmed(latents.threshold)
    text = (
        "One column per front trial, from low to high rate; one cell per latent, sorted by its "
        "KL (with a diagonal posterior and a normal prior a column sums to the trial's rate). Latents above the line are active: the "
        f"variance of their posterior mean over the data, Cov_x(E_q[u|x]), exceeds {threshold} "
        "(Burda et al. 2015). The others carry nothing; a trial that uses all of its latents "
        "(the line touches the bottom of its column) may want more of them."
    )
    if len(latents.uses) < latents.front_size:
        text += f" {len(latents.uses)} of the {latents.front_size} front trials are drawn."
    hidden = max(len(use.kl_nats) for use in latents.uses) - latents.rows()
    if hidden > 0:
        text += f" Up to {hidden} further latents per trial, all inactive, are cut off below."
    return text


def alt_of(latents: LatentMap) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    if not latents.uses:
        return "KL per latent without any trial."
    counts = ", ".join(f"{use.active} of {len(use.kl_nats)}" for use in latents.uses)
    return f"Heat map of the KL per latent along the front; active latents per trial: {counts}."


def _use(dossier: Dossier, trial: TrialRecord) -> LatentUse:
    records = sorted(
        dossier.latents[trial.number], key=lambda r: (not r.active, -r.kl_nats, r.latent)
    )
    return LatentUse(
        number=trial.number,
        beta=trial.beta,
        rate_nats=trial.rate_nats or 0.0,
        active=sum(record.active for record in records),
        kl_nats=tuple(record.kl_nats for record in records),
    )


def _height(rows: int) -> float:
    """Returns the figure's height in inches, so that few latents do not become huge cells."""
    return 1.6 + min(max(0.12 * rows, 1.1), 2.4)


def _draw_threshold(axes: Axes, latents: LatentMap) -> None:
    """Draws the border between active and inactive latents as one line over all columns."""
    edges = np.repeat(np.arange(len(latents.uses) + 1) - 0.5, 2)[1:-1]
    heights = np.repeat([use.active + 0.5 for use in latents.uses], 2)
    limit = "" if latents.threshold is None else f" (Cov > {trimmed(latents.threshold)})"
    axes.plot(edges, heights, color="white", linewidth=3.4, clip_on=False)
    axes.plot(
        edges,
        heights,
        color=style.ALARM,
        linewidth=1.7,
        clip_on=False,
        label=f"active latents lie above this line{limit}",
    )


def _set_axes(axes: Axes, latents: LatentMap) -> None:
    axes.set_ylim(latents.rows() + 0.5, 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylabel("latents, sorted by KL")
    axes.set_xlim(-0.5, len(latents.uses) - 0.5)
    axes.set_xlabel("front trials from low to high rate")
    axes.tick_params(length=0)
    places = range(len(latents.uses))
    names = [f"{use.number}\n{trimmed(use.beta, 2)}" for use in latents.uses]
    axes.set_xticks(places, names, fontsize=7)
    _head(axes, "trial\nβ", -0.012, "top")
    top = axes.secondary_xaxis("top")
    top.set_xticks(places, [rate_text(use.rate_nats) for use in latents.uses], fontsize=7)
    top.tick_params(length=0)
    _head(axes, "R (nats)", 1.015, "bottom")


def _head(axes: Axes, text: str, height: float, alignment: Literal["top", "bottom"]) -> None:
    """Writes what a row of labels holds, to the left of it."""
    axes.text(
        -0.02,
        height,
        text,
        transform=axes.transAxes,
        ha="right",
        va=alignment,
        fontsize=7,
        color=style.MUTED,
        linespacing=1.2,
    )
