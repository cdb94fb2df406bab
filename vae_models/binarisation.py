"""From grey levels to zeros and ones. The ways differ in their likelihoods: never mix them."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_models.splits import Splits, generator_of

__all__ = ["binarise", "draw_once"]

_CHUNK = 4096  # images whose random numbers are held at one time


def binarise(splits: Splits, binarisation: str, seed: int) -> Splits:
    """The splits as they are stored under a binarisation.

    ``static`` draws each pixel once with its grey value as the probability (Salakhutdinov &
    Murray 2008, https://doi.org/10.1145/1390156.1390266), ``threshold`` sets pixels above one
    half. ``none`` changes nothing, nor does ``dynamic``: it draws when a batch is made.
    """
    if binarisation == "static":
        train = draw_once(splits.train, splits.scale, seed, "static train")
        heldout = draw_once(splits.heldout, splits.scale, seed, "static held-out")
    elif binarisation == "threshold":
        train = _above_half(splits.train, splits.scale)
        heldout = _above_half(splits.heldout, splits.scale)
    else:
        return splits
    return replace(splits, train=train, heldout=heldout, scale=1.0)


def draw_once(levels: NDArray[Any], scale: float, seed: int, purpose: str) -> NDArray[np.uint8]:
    """Zeros and ones with the probabilities `levels * scale`, the same for the same seed.

    The first images do not depend on how many follow.
    """
    generator = generator_of(seed, purpose)
    drawn = np.empty(levels.shape, np.uint8)
    for start in range(0, len(levels), _CHUNK):
        chunk = levels[start : start + _CHUNK]
        uniform = generator.random(chunk.shape, dtype=np.float32)
        # u < v/L as u·L < v: exactly never for v = 0 and always for v = L
        drawn[start : start + _CHUNK] = uniform * np.float32(round(1 / scale)) < chunk
    return drawn


def _above_half(levels: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    return (levels > 0.5 / scale).astype(np.uint8)
