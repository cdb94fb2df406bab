"""Rows of small pictures, one row per front trial: read from the record, labelled and drawn."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style
from reports.dossier import Dossier
from reports.numbers_text import rate_text, short, trimmed
from studies.records import ArtifactRecord, TrialRecord

Pictures = Float[np.ndarray, "image height width colour"]
Stack = Float[np.ndarray, "group image height width colour"]
"""Groups of pictures, values in [0, 1]."""

_MOST_IMAGES: Final = 10
_MARGIN_INCHES: Final = 1.32
"""Left of the pictures, for the labels."""
_LABEL_INCHES: Final = 0.31
"""Least distance of two rows, so that their labels do not touch."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class PictureRow:
    """One front trial's pictures: [image, height, width, 1 or 3], in [0, 1]."""

    number: int
    beta: float | None
    rate_nats: float
    distortion: float
    images: Pictures

    def label(self) -> str:
        """Returns the two lines that stand beside the pictures."""
        rate = rate_text(self.rate_nats)
        relation = "" if rate.startswith("<") else "= "
        beta = "no β" if self.beta is None else f"β = {trimmed(self.beta)}"
        return (
            f"trial {self.number}, {beta}\nR {relation}{rate} nats, D = {short(self.distortion)}"
        )


def picture_row(dossier: Dossier, trial: TrialRecord, images: Pictures) -> PictureRow:
    """Returns a trial's row, with the distortion of the study's plane beside it."""
    return PictureRow(
        number=trial.number,
        beta=trial.beta,
        rate_nats=trial.rate_nats or 0.0,
        distortion=dossier.measure.of(trial) or 0.0,
        images=images,
    )


def read_stacks(
    dossier: Dossier, artifacts: Mapping[int, ArtifactRecord], *, groups: int
) -> tuple[list[tuple[TrialRecord, Stack]], tuple[int, ...]]:
    """Returns what the drawn front trials stored, and the numbers of those that cannot be shown.

    The trials come from low to high rate, their pictures all in one shape. A trial that stored
    nothing is left out.

    Args:
        dossier: The study.
        artifacts: By trial number: arrays ``[group, image, colour, height, width]``, uint8 or
            floats in [0, 1]; a single group has no axis of its own.
        groups: How many groups an array must hold.
    """
    stacks: list[tuple[TrialRecord, Stack]] = []
    unreadable: list[int] = []
    for trial in dossier.shown_front():
        if trial.number not in artifacts:
            continue
        axes = 4 if groups == 1 else 5
        stack = read_array(artifacts[trial.number], axes=axes)
        if stack is None or len(stack) != groups or (stacks and stacks[0][1].shape != stack.shape):
            unreadable.append(trial.number)
        else:
            stacks.append((trial, stack))
    return stacks, tuple(unreadable)


def unreadable_sentence(numbers: Sequence[int]) -> str:
    """Returns a sentence to add to a caption, empty if all pictures could be read."""
    if not numbers:
        return ""
    return f" The stored pictures of trials {', '.join(map(str, numbers))} cannot be read."


def draw_rows(rows: Sequence[tuple[str, Pictures]]) -> Figure:
    """Returns the figure of labelled rows, at least one; all hold pictures of one shape."""
    joined = [_side_by_side(images) for _, images in rows]
    width, height = _strip_inches(joined[0].shape, len(rows[0][1]))
    pitch = max(height + 0.06, _LABEL_INCHES)
    total = pitch * len(joined) + 0.06
    with style.drawing_style():
        figure = style.new_figure(total, layout=None)
        for place, (strip, (label, _)) in enumerate(zip(joined, rows, strict=True)):
            middle = total - 0.03 - pitch * (place + 0.5)
            box = (
                _MARGIN_INCHES / style.WIDTH_INCHES,
                (middle - height / 2) / total,
                width / style.WIDTH_INCHES,
                height / total,
            )
            _draw_strip(figure.add_axes(box), strip, label)
    return figure


def read_array(artifact: ArtifactRecord, *, axes: int) -> Stack | None:
    """Returns stored pictures as ``[group, image, height, width, colour]``, values in [0, 1].

    Args:
        artifact: An array ``[group, image, colour, height, width]``; with 4 axes, one group.
        axes: How many axes the stored array must have, 4 or 5.

    Returns:
        At most ten images of each group; None where the stored array is no such thing.
    """
    try:
        array = np.load(io.BytesIO(artifact.content or b""), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if array.ndim != axes:
        return None
    if axes == 4:
        array = array[np.newaxis]
    is_stack = array.shape[2] in {1, 3}
    if not is_stack or array.size == 0 or array.dtype.kind not in "buif":
        return None
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    values = np.nan_to_num(array.astype(np.float64) / scale, nan=0.0, posinf=1.0, neginf=0.0)
    shown: Stack = np.clip(values, 0.0, 1.0)[:, :_MOST_IMAGES].transpose(0, 1, 3, 4, 2)
    return shown


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
    images: Pictures,
) -> Float[np.ndarray, "height columns colour"]:
    """Returns the images in one row with white gaps of a twelfth of their width."""
    count, height, width, colours = images.shape
    gap = max(width // 12, 1)
    strip = np.ones((height, count * (width + gap) - gap, colours))
    for place, image in enumerate(images):
        start = place * (width + gap)
        strip[:, start : start + width] = image
    return strip
