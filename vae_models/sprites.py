"""Binary shapes with known factors, in the spirit of dSprites, drawn here and nowhere downloaded.

Five factors: shape, scale, orientation, and the position x, y of the centroid. A pixel is white
where its centre lies in the shape, so there are no grey edges; every shape lies wholly in the image.

Reference: L. Matthey, I. Higgins, D. Hassabis, A. Lerchner, dSprites (2017),
https://github.com/google-deepmind/dsprites-dataset. Its grid has the same size; here the 40
orientations do not hold 0 and 2π both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from vae_models.data_config import SPRITE_FACTORS, DataConfig
from vae_models.splits import Splits, generator_of

__all__ = ["SHAPES", "Factors", "draw_sprites", "load"]

SHAPES = ("square", "ellipse", "heart")

# Half sizes in units of the image side, at full scale. No shape reaches beyond a quarter of the
# side from its centroid, where the positions begin. The odd last digits keep the edges off the
# pixel centres, where the last bit of a sine would decide.
_SQUARE_HALF_SIDE = 0.1703
_ELLIPSE_HALF_AXES = (0.2303, 0.1301)
_HEART_UNIT = 0.1903
_HEART_CENTROID = 0.2934756  # of x² + y² − 1 ≤ ∛(x² y³), above its origin
_SMALLEST_SCALE = 0.5
_FIRST_POSITION = 0.25
_CHUNK = 256  # images drawn at one time

Coordinates: TypeAlias = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Factors:
    """What every example was made from.

    Attributes:
        names: Of the factors, in the order of the columns.
        sizes: How many values each factor takes.
        train: Class of each factor for each training example, [n, factors], int64.
        heldout: Likewise for the held-out examples.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    train: NDArray[np.int64]
    heldout: NDArray[np.int64]


def load(config: DataConfig) -> Splits:
    """A seeded choice of distinct sprites from the full grid, training and held-out."""
    if config.train_size is None or config.heldout_size is None or config.image_size is None:
        raise TypeError(f"a `sprites` DataConfig is expected, but got {config.name!r}")
    sizes = tuple(SPRITE_FACTORS.values())
    order = generator_of(config.seed, "sprites").permutation(int(np.prod(sizes)))
    chosen = order[: config.train_size + config.heldout_size]
    rows = np.stack(np.unravel_index(chosen, sizes), axis=1).astype(np.int64)
    factors = Factors(
        names=tuple(SPRITE_FACTORS),
        sizes=sizes,
        train=rows[: config.train_size],
        heldout=rows[config.train_size :],
    )
    train, heldout = (draw_sprites(f, config.image_size) for f in (factors.train, factors.heldout))
    return Splits(train=train, heldout=heldout, scale=1.0, factors=factors)


def draw_sprites(factors: NDArray[np.int64], image_size: int) -> NDArray[np.uint8]:
    """Zeros and ones, [n, 1, image_size, image_size].

    Args:
        factors: Classes of shape, scale, orientation, x and y, [n, 5].
        image_size: Side of the images in pixels.
    """
    images = np.empty((len(factors), 1, image_size, image_size), np.uint8)
    for shape, is_inside in enumerate(_INSIDE):
        (members,) = np.nonzero(factors[:, 0] == shape)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            images[chunk, 0] = is_inside(*_shape_coordinates(factors[chunk], image_size))
    return images


def _shape_coordinates(
    factors: NDArray[np.int64], image_size: int
) -> tuple[Coordinates, Coordinates]:
    """Where the pixel centres lie as each shape sees them: right and up, [n, rows, columns].

    In image sides, from the shape's centroid, with its rotation and its scale taken back.
    """
    _, scale, orientation, x, y = (column[:, None, None] for column in factors.T)
    _, scales, orientations, columns, rows = SPRITE_FACTORS.values()
    centres = (np.arange(image_size) + 0.5) / image_size
    right = centres[None, None, :] - _position(x, columns)
    up = _position(y, rows) - centres[None, :, None]
    angle = 2 * np.pi * orientation / orientations
    size = _SMALLEST_SCALE + (1 - _SMALLEST_SCALE) * scale / (scales - 1)
    along = (np.cos(angle) * right + np.sin(angle) * up) / size
    across = (np.cos(angle) * up - np.sin(angle) * right) / size
    return along, across


def _position(index: NDArray[np.int64], count: int) -> Coordinates:
    """Of the centroid in image sides, over the middle half of the image."""
    position: Coordinates = _FIRST_POSITION + (1 - 2 * _FIRST_POSITION) * index / (count - 1)
    return position


def _in_square(right: Coordinates, up: Coordinates) -> NDArray[np.bool_]:
    return np.maximum(np.abs(right), np.abs(up)) <= _SQUARE_HALF_SIDE


def _in_ellipse(right: Coordinates, up: Coordinates) -> NDArray[np.bool_]:
    half_width, half_height = _ELLIPSE_HALF_AXES
    return (right / half_width) ** 2 + (up / half_height) ** 2 <= 1


def _in_heart(right: Coordinates, up: Coordinates) -> NDArray[np.bool_]:
    """The sextic (x² + y² − 1)³ ≤ x² y³, with its centroid at the origin."""
    x, y = right / _HEART_UNIT, up / _HEART_UNIT + _HEART_CENTROID
    excess = x**2 + y**2 - 1
    return excess * excess * excess <= x**2 * (y * y * y)


_INSIDE: tuple[Callable[[Coordinates, Coordinates], NDArray[np.bool_]], ...] = (
    _in_square,
    _in_ellipse,
    _in_heart,
)
