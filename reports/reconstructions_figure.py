"""Reconstructions along the front: what more nats buy, to the eye."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style
from reports.distortion import DistortionMeasure
from reports.dossier import Dossier
from reports.numbers_text import short, trimmed
from studies.records import ArtifactRecord, TrialRecord

_MOST_IMAGES: Final = 10
_MARGIN_INCHES: Final = 1.32
"""Left of the pictures, for the labels."""
_LABEL_INCHES: Final = 0.31
"""Least distance of two rows, so that their labels do not touch."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ReconstructionRow:
    """One trial's pictures of the fixed images: [image, height, width, 1 or 3], in [0, 1]."""

    number: int
    beta: float
    rate_nats: float
    distortion: float
    images: Float[np.ndarray, "image height width colour"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstructions:
    """The originals and, from low to high rate, what the front trials make of them.

    `unreadable` holds the numbers of trials whose stored pictures cannot be shown.
    """

    measure: DistortionMeasure
    originals: Float[np.ndarray, "image height width colour"] | None
    rows: tuple[ReconstructionRow, ...]
    unreadable: tuple[int, ...]


def reconstructions(dossier: Dossier) -> Reconstructions:
    """Returns the pictures of the front trials; none for data that are no images."""
    folder = Path(dossier.study.artifacts_dir)
    rows: list[ReconstructionRow] = []
    unreadable: list[int] = []
    originals: Float[np.ndarray, "image height width colour"] | None = None
    for trial in dossier.shown_front():
        artifact = dossier.reconstructions.get(trial.number)
        if artifact is None:
            continue
        pair = _pictures(artifact, folder)
        if pair is None or (originals is not None and originals.shape != pair[0].shape):
            unreadable.append(trial.number)
            continue
        originals = pair[0] if originals is None else originals
        rows.append(_row(dossier.measure, trial, pair[1]))
    return Reconstructions(
        measure=dossier.measure,
        originals=originals,
        rows=tuple(rows),
        unreadable=tuple(unreadable),
    )


def draw_reconstructions(pictures: Reconstructions) -> Figure:
    """Returns the figure: the originals in the first row, then one row per trial.

    Raises:
        ValueError: There are no pictures to draw.
    """
    if pictures.originals is None:
        raise ValueError("Reconstructions must hold at least one trial's pictures, but got none.")
    strips = [pictures.originals, *(row.images for row in pictures.rows)]
    labels = ["originals", *(_label(row) for row in pictures.rows)]
    joined = [_side_by_side(images) for images in strips]
    width, height = _strip_inches(joined[0].shape, len(pictures.originals))
    pitch = max(height + 0.06, _LABEL_INCHES)
    total = pitch * len(joined) + 0.06
    with style.drawing_style():
        figure = style.new_figure(total, layout=None)
        for place, (strip, label) in enumerate(zip(joined, labels, strict=True)):
            middle = total - 0.03 - pitch * (place + 0.5)
            box = (
                _MARGIN_INCHES / style.WIDTH_INCHES,
                (middle - height / 2) / total,
                width / style.WIDTH_INCHES,
                height / total,
            )
            _draw_strip(figure.add_axes(box), strip, label)
    return figure


def caption_of(pictures: Reconstructions) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    text = (
        "The first row shows held-out originals, the rows beneath what the front trials make of "
        "them, from low rate (few nats, little but the typical image) to high rate (faithful). "
        "Pictures are decoded from the posterior mean; R and D beside them are measured with "
        "z ~ q(z|x) over all held-out data. Values outside 0…1 are clipped for display."
    )
    if pictures.unreadable:
        named = ", ".join(map(str, pictures.unreadable))
        text += f" The stored pictures of trials {named} cannot be read."
    return text


def alt_of(pictures: Reconstructions) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    if pictures.originals is None:
        return "No reconstructions."
    return (
        f"{len(pictures.originals)} held-out images and their reconstructions by "
        f"{len(pictures.rows)} front trials, from low to high rate."
    )


def _pictures(
    artifact: ArtifactRecord, folder: Path
) -> (
    tuple[
        Float[np.ndarray, "image height width colour"],
        Float[np.ndarray, "image height width colour"],
    ]
    | None
):
    """Returns originals and reconstructions, or None where the stored array is no such thing."""
    try:
        content = artifact.content
        if content is None:
            content = (folder / (artifact.path or "")).read_bytes()
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if array.ndim != 5 or array.shape[0] != 2 or array.shape[2] not in {1, 3} or array.size == 0:
        return None
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    values = np.nan_to_num(array.astype(np.float64) / scale, nan=0.0, posinf=1.0, neginf=0.0)
    shown = np.clip(values, 0.0, 1.0)[:, :_MOST_IMAGES].transpose(0, 1, 3, 4, 2)
    return shown[0], shown[1]


def _row(
    measure: DistortionMeasure,
    trial: TrialRecord,
    images: Float[np.ndarray, "image height width colour"],
) -> ReconstructionRow:
    return ReconstructionRow(
        number=trial.number,
        beta=trial.beta,
        rate_nats=trial.rate_nats or 0.0,
        distortion=measure.of(trial) or 0.0,
        images=images,
    )


def _label(row: ReconstructionRow) -> str:
    rate = "< 0.01" if row.rate_nats < 0.01 else f"= {short(row.rate_nats)}"
    return (
        f"trial {row.number}, β = {trimmed(row.beta)}\nR {rate} nats, D = {short(row.distortion)}"
    )


def _strip_inches(shape: tuple[int, ...], count: int) -> tuple[float, float]:
    """Returns width and height of a row of pictures on paper, none wider than 0.7 inches."""
    height, width, _ = shape
    inches = min(style.WIDTH_INCHES - _MARGIN_INCHES - 0.04, 0.7 * count)
    return inches, inches * height / width


def _draw_strip(axes: Axes, strip: Float[np.ndarray, "height columns colour"], label: str) -> None:
    axes.imshow(
        strip[..., 0] if strip.shape[-1] == 1 else strip,
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
        aspect="auto",
    )
    axes.set_axis_off()
    axes.annotate(
        label,
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-5, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=6.8,
        linespacing=1.3,
    )


def _side_by_side(
    images: Float[np.ndarray, "image height width colour"],
) -> Float[np.ndarray, "height columns colour"]:
    """Returns the images in one row with white gaps of a twelfth of their width."""
    count, height, width, colours = images.shape
    gap = max(width // 12, 1)
    strip = np.ones((height, count * (width + gap) - gap, colours))
    for place, image in enumerate(images):
        start = place * (width + gap)
        strip[:, start : start + width] = image
    return strip
