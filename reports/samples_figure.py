"""Samples from the prior along the front: whether the model knows the data without seeing any."""

from dataclasses import dataclass
from typing import final

from matplotlib.figure import Figure

from reports.dossier import Dossier
from reports.picture_rows import (
    PictureRow,
    draw_rows,
    picture_row,
    read_stacks,
    unreadable_sentence,
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What the front trials decode from the prior, from low to high rate.

    `unreadable` holds the numbers of trials whose stored pictures cannot be shown.
    """

    rows: tuple[PictureRow, ...]
    unreadable: tuple[int, ...]


def samples(dossier: Dossier) -> Samples:
    """Returns the samples of the front trials; none for data that are no images."""
    stacks, unreadable = read_stacks(dossier, dossier.samples, groups=1)
    rows = tuple(picture_row(dossier, trial, stack[0]) for trial, stack in stacks)
    return Samples(rows=rows, unreadable=unreadable)


def draw_samples(pictures: Samples) -> Figure:
    """Returns the figure: one row per trial.

    Raises:
        ValueError: There are no pictures to draw.
    """
    if not pictures.rows:
        raise ValueError("Samples must hold at least one trial's pictures, but got none.")
    return draw_rows([(row.label(), row.images) for row in pictures.rows])


def caption_of(pictures: Samples) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    return (
        "Pictures that the front trials decode from z ~ p(z), each its own prior, without an image to "
        "code: the mean of p(x|z) at each draw. At a low rate they are alike, since z says little; "
        "at a high rate the codes of real images may fill little of the prior, and draws from it "
        "look like none of them. A column shows nothing in common from row to row, for each model "
        "uses its latents in its own way." + unreadable_sentence(pictures.unreadable)
    )


def alt_of(pictures: Samples) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    if not pictures.rows:
        return "No samples."
    return (
        f"{len(pictures.rows[0].images)} samples from the prior of each of "
        f"{len(pictures.rows)} front trials, from low to high rate."
    )
