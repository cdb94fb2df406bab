"""Latent traversals: what each latent of a model draws when it alone is moved."""

import io
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.figure import Figure

from reports.dossier import TRAVERSAL_KINDS, Dossier
from reports.numbers_text import rate_text
from reports.picture_rows import Pictures, draw_rows, read_array
from studies.records import ArtifactRecord


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class TraversalRow:
    """One latent, its own rate and its pictures from low to high."""

    latent: int
    kl_nats: float | None
    images: Pictures

    def label(self) -> str:
        """Returns the two lines that stand beside the pictures."""
        rate = "" if self.kl_nats is None else f"\nKL = {rate_text(self.kl_nats)} nats"
        return f"latent {self.latent}{rate.replace('= <', '< ')}"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Traversals:
    """The traversals of one trial; no rows where it stored none."""

    number: int | None
    rows: tuple[TraversalRow, ...]


def traversals(dossier: Dossier) -> Traversals:
    """Returns the traversals of the trial in the middle of the front."""
    trial = dossier.traversed()
    stored = dossier.traversals.get(trial.number) if trial is not None else None
    if trial is None or stored is None:
        return Traversals(number=None, rows=())
    pictures = read_array(stored[TRAVERSAL_KINDS[0]], axes=5)
    latents = _latents(stored[TRAVERSAL_KINDS[1]])
    if pictures is None or len(latents) != len(pictures):
        return Traversals(number=trial.number, rows=())
    rates = {row.latent: row.kl_nats for row in dossier.latents.get(trial.number, ())}
    rows = [
        TraversalRow(latent=latent, kl_nats=rates.get(latent), images=images)
        for latent, images in zip(latents, pictures, strict=True)
    ]
    return Traversals(number=trial.number, rows=tuple(rows))


def draw_traversals(pictures: Traversals) -> Figure:
    """Returns the figure: one row per latent.

    Raises:
        ValueError: There are no pictures to draw.
    """
    if not pictures.rows:
        raise ValueError("Traversals must hold at least one latent's pictures, but got none.")
    return draw_rows([(row.label(), row.images) for row in pictures.rows])


def caption_of(pictures: Traversals) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    return (
        f"Trial {pictures.number}, in the middle of the front. Each row moves one latent from −3 "
        "to 3 standard deviations of the prior and leaves the others at the posterior mean of the "
        "first held-out image; the latents that carry most nats come first. A row in which nothing "
        "changes is a latent that the decoder ignores."
    )


def alt_of(pictures: Traversals) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    count = len(pictures.rows)
    return f"Pictures decoded along each of {count} latents of trial {pictures.number}."


def _latents(artifact: ArtifactRecord) -> list[int]:
    try:
        array = np.load(io.BytesIO(artifact.content or b""), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return []
    return [int(latent) for latent in array.reshape(-1)]
