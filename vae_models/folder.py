"""A directory of images, brought to one size."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vae_models.data_config import DataConfig
from vae_models.errors import DataError, VaeModelsWarning
from vae_models.splits import Splits, split_images

__all__ = ["EXTENSIONS", "fit_image", "load"]

EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_NAMED = 5  # unreadable files that a warning names; the data set keeps them all
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def load(config: DataConfig) -> Splits:
    """Every image under the root, at any depth, in a seeded split.

    Files count by their extension and are taken in the order of their paths. Those that cannot be
    read are left out, named in a warning and in `Splits.skipped`.

    Raises:
        DataError: No directory, or fewer than two readable images in it.
    """
    if config.image_size is None:
        raise TypeError("a DataConfig with an `image_size` is expected, but got none")
    root = Path(config.root).expanduser()
    paths = _image_paths(root)
    images, skipped = _read_images(root, paths, config.image_size, colour=config.colour)
    if len(images) < 2:
        raise DataError(
            f"`readable images >= 2` must hold for the folder {str(root)!r} (one to train on, one "
            f"held out), but got {len(images)} of {len(paths)} image files"
            f"{_reasons(skipped)}. Looked for {', '.join(sorted(EXTENSIONS))}, at any depth."
        )
    if skipped:
        message = f"{len(skipped)} of {len(paths)} image files under {str(root)!r} are unreadable"
        warnings.warn(
            f"{message} and were skipped{_reasons(skipped)}.", VaeModelsWarning, stacklevel=2
        )
    train, heldout = split_images(images, config.heldout_fraction, config.seed)
    return Splits(train=train, heldout=heldout, scale=1 / 255, skipped=tuple(skipped))


def fit_image(image: Image.Image, size: int, *, colour: bool) -> NDArray[np.uint8]:
    """The image as bytes, [C, size, size]: short side resized to `size`, centre cropped.

    The camera's orientation is applied, transparency falls on black, 16-bit grey is cut to 8.
    """
    upright = ImageOps.exif_transpose(image)
    plain = _to_mode(upright, "RGB" if colour else "L")
    fitted = ImageOps.fit(plain, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(fitted, dtype=np.uint8)
    return pixels.transpose(2, 0, 1) if colour else pixels[None]


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert(mode)


def _image_paths(root: Path) -> list[Path]:
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise DataError(
            f"`root` must be a directory of images for data set 'folder', but got {found} at "
            f"{str(root)!r} (working directory {str(Path.cwd())!r})."
        )
    found_paths = [
        Path(directory, name)
        for directory, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in EXTENSIONS
    ]
    return sorted(found_paths, key=lambda path: path.relative_to(root).as_posix())


def _read_images(
    root: Path, paths: Sequence[Path], size: int, *, colour: bool
) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """The images that could be read, and why the others could not, by relative path."""
    images = np.empty((len(paths), 3 if colour else 1, size, size), np.uint8)
    skipped: dict[str, str] = {}
    count = 0
    for path, result in zip(paths, _read_each(paths, size, colour=colour), strict=True):
        if isinstance(result, str):
            skipped[path.relative_to(root).as_posix()] = result
        else:
            images[count] = result
            count += 1
    return images[:count], skipped


def _read_each(
    paths: Sequence[Path], size: int, *, colour: bool
) -> Iterator[NDArray[np.uint8] | str]:
    """In order; by as many threads as torch may use here, since decoding needs no interpreter."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        yield from pool.map(lambda path: _read(path, size, colour=colour), paths)


def _read(path: Path, size: int, *, colour: bool) -> NDArray[np.uint8] | str:
    try:
        with Image.open(path) as image:
            return fit_image(image, size, colour=colour)
    except _UNREADABLE as error:
        return " ".join(str(error).split()) or type(error).__name__


def _reasons(skipped: dict[str, str]) -> str:
    if not skipped:
        return ""
    named = [f"{name} ({reason})" for name, reason in list(skipped.items())[:_NAMED]]
    more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return ": " + "; ".join(named) + more
