"""Reconstructions along the front: what more nats buy, to the eye."""

from dataclasses import dataclass
from typing import final

from matplotlib.figure import Figure

from reports.dossier import Dossier
from reports.picture_rows import (
    PictureRow,
    Pictures,
    draw_rows,
    picture_row,
    read_stacks,
    unreadable_sentence,
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstructions:
    """The originals and, from low to high rate, what the front trials make of them.

    `unreadable` holds the numbers of trials whose stored pictures cannot be shown.
    """

    originals: Pictures | None
    rows: tuple[PictureRow, ...]
    unreadable: tuple[int, ...]


def reconstructions(dossier: Dossier) -> Reconstructions:
    """Returns the pictures of the front trials; none for data that are no images."""
    stacks, unreadable = read_stacks(dossier, dossier.reconstructions, groups=2)
    return Reconstructions(
        originals=stacks[0][1][0] if stacks else None,
        rows=tuple(picture_row(dossier, trial, stack[1]) for trial, stack in stacks),
        unreadable=unreadable,
    )


def draw_reconstructions(pictures: Reconstructions) -> Figure:
    """Returns the figure: the originals in the first row, then one row per trial.

    Raises:
        ValueError: There are no pictures to draw.
    """
    if pictures.originals is None:
        raise ValueError("Reconstructions must hold at least one trial's pictures, but got none.")
    rows = [(row.label(), row.images) for row in pictures.rows]
    return draw_rows([("originals", pictures.originals), *rows])


def caption_of(pictures: Reconstructions) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    return (
        "The first row shows held-out originals, the rows beneath what the front trials make of "
        "them, from low rate (few nats, little but the typical image) to high rate (faithful). "
        "Pictures are decoded from the posterior mean; R and D beside them are measured with "
        "z ~ q(z|x) over all held-out data. Values outside 0…1 are clipped for display."
        + unreadable_sentence(pictures.unreadable)
    )


def alt_of(pictures: Reconstructions) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    if pictures.originals is None:
        return "No reconstructions."
    return (
        f"{len(pictures.originals)} held-out images and their reconstructions by "
        f"{len(pictures.rows)} front trials, from low to high rate."
    )
