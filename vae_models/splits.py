"""Training and held-out examples as a source hands them over, and how to split what is in one."""

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vae_models.sprites import Factors

__all__ = ["Splits", "generator_of", "split_images"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Examples as they are stored, before they become tensors.

    Attributes:
        train: Training examples, [n, C, H, W], uint8 grey levels or float32 values.
        heldout: Held-out examples, likewise.
        scale: Factor from stored values to model units; images come out in [0, 1].
        peak: The largest value in model units, None where there is none (no image).
        skipped: Files that could not be read, relative to the root.
        factors: What each example was made from, where that is known.
    """

    train: NDArray[Any]
    heldout: NDArray[Any]
    scale: float
    peak: float | None = 1.0
    skipped: tuple[str, ...] = ()
    factors: "Factors | None" = None


def generator_of(seed: int, purpose: str) -> np.random.Generator:
    """A random stream of its own for each seed and purpose, the same on every machine."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def split_images(
    images: NDArray[Any], heldout_fraction: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Training and held-out images: a seeded permutation, cut once; both get at least one.

    Args:
        images: All examples, [n, C, H, W], n >= 2.
        heldout_fraction: Share of the examples to hold out.
        seed: Of the permutation.
    """
    count = len(images)
    heldout = min(max(1, round(count * heldout_fraction)), count - 1)
    order = generator_of(seed, "split").permutation(count)
    return images[order[heldout:]], images[order[:heldout]]
