"""Patches of the two photographs that ship with scikit-learn: natural colours without a download."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vae_models.data_config import DataConfig
from vae_models.errors import DataError
from vae_models.splits import Splits, generator_of

__all__ = ["HELDOUT_BANDS", "STRIDE", "load"]

HELDOUT_BANDS: Final[Mapping[str, tuple[int, int]]] = {
    "china.jpg": (280, 400),
    "flower.jpg": (80, 200),
}
"""The columns of each photograph, from and to, that only held-out patches are cut from.

With these, the principal components of the training patches leave nearly as much squared error of
the held-out ones: 0.87 to 1.13 times as much with 0, 4, 16 and 64 of them.
"""

STRIDE = 14
"""Pixels from one patch to the next, in both directions: of 32 pixels, 1943 and 406 patches."""

_SHAPE = (427, 640, 3)


def load(config: DataConfig) -> Splits:
    """Patches on a regular grid, overlapping if they are larger than its step, in a seeded order.

    Both splits have patches of both photographs; no pixel is in both splits.

    Raises:
        DataError: scikit-learn came without its photographs.
    """
    if config.image_size is None:
        raise TypeError("a DataConfig with an `image_size` is expected, but got none")
    side, train, heldout = config.image_size, [], []
    for name, photo in _photographs().items():
        pixels = _channels(photo, colour=config.colour)
        start, end = HELDOUT_BANDS[name]
        train += [_patches(part, side) for part in (pixels[..., :start], pixels[..., end:])]
        heldout += [_patches(pixels[..., start:end], side)]
    return Splits(
        train=_shuffled(train, config.seed, "photos train"),
        heldout=_shuffled(heldout, config.seed, "photos held-out"),
        scale=1 / 255,
    )


def _photographs() -> dict[str, NDArray[np.uint8]]:
    from sklearn.datasets import load_sample_images

    try:
        bunch = load_sample_images()
    except OSError as error:
        raise _missing(str(error)) from error
    names = (Path(path).name for path in bunch.filenames)
    found = dict(zip(names, bunch.images, strict=True))
    unfit = [name for name in HELDOUT_BANDS if name not in found or found[name].shape != _SHAPE]
    if unfit:
        raise _missing(f"{', '.join(sorted(found)) or 'none'} with {', '.join(unfit)} amiss")
    return {name: found[name] for name in HELDOUT_BANDS}


def _missing(got: str) -> DataError:
    return DataError(
        f"The photographs {' and '.join(HELDOUT_BANDS)} must be where scikit-learn keeps its images "
        f"for data set 'photos', but got {got}; install scikit-learn again."
    )


def _channels(photo: NDArray[np.uint8], *, colour: bool) -> NDArray[np.uint8]:
    """[C, rows, columns]; grey is the luma of ITU-R BT.601, as for a folder."""
    if colour:
        return photo.transpose(2, 0, 1)
    return np.asarray(Image.fromarray(photo).convert("L"))[None]


def _patches(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """All patches of a part, [n, C, side, side]."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (side, side), axis=(1, 2))
    grid = windows[:, ::STRIDE, ::STRIDE].transpose(1, 2, 0, 3, 4)
    return grid.reshape(-1, *grid.shape[2:])


def _shuffled(parts: list[NDArray[np.uint8]], seed: int, purpose: str) -> NDArray[np.uint8]:
    """All parts in random order, so that the first ones are a fair choice."""
    return generator_of(seed, purpose).permutation(np.concatenate(parts))
