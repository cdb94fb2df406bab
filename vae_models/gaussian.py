"""Gaussian data with a chosen covariance spectrum: their rate–distortion curve is known exactly."""

import math

import numpy as np
from numpy.typing import NDArray

from vae_models.data_config import DataConfig
from vae_models.splits import Splits, generator_of

__all__ = ["load"]

_GRID = 2.0**-20  # of the largest standard deviation; see `_on_grid`


def load(config: DataConfig) -> Splits:
    """Draws from N(0, Q diag(λ) Qᵀ) as [n, 1, 1, N] in float32, λ = `config.spectrum`.

    Q is Haar-distributed, drawn from the seed, or the identity where `config.rotate` is false.
    """
    sizes = config.train_size, config.heldout_size
    if config.spectrum is None or None in sizes:
        raise TypeError(f"a `gaussian` DataConfig is expected, but got {config.name!r}")
    deviations = np.sqrt(np.array(config.spectrum))
    rotation = haar_rotation(len(deviations), config.seed) if config.rotate else None
    train, heldout = (
        _draw(size or 0, deviations, rotation, generator_of(config.seed, purpose))
        for size, purpose in zip(sizes, ("gaussian train", "gaussian held-out"), strict=True)
    )
    return Splits(train=train, heldout=heldout, scale=1.0, peak=None)


def haar_rotation(dimension: int, seed: int) -> NDArray[np.float64]:
    """A random orthogonal matrix, uniform in the sense of Haar.

    Q of a QR decomposition of a Gaussian matrix, with the signs fixed by diag(R) > 0.
    Reference: F. Mezzadri (2007), https://arxiv.org/abs/math-ph/0609050.
    """
    square = generator_of(seed, "rotation").standard_normal((dimension, dimension))
    q, r = np.linalg.qr(square)
    rotation: NDArray[np.float64] = q * np.sign(np.diag(r))
    return rotation


def _draw(
    size: int,
    deviations: NDArray[np.float64],
    rotation: NDArray[np.float64] | None,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    examples = generator.standard_normal((size, len(deviations))) * deviations
    if rotation is not None:
        examples = examples @ rotation.T
    return _on_grid(examples, float(deviations.max())).reshape(size, 1, 1, -1)


def _on_grid(examples: NDArray[np.float64], deviation: float) -> NDArray[np.float32]:
    """The examples, rounded to a grid that float32 holds exactly.

    Linear algebra libraries differ in the last bits; on a grid a billion times coarser than
    those, their results and hence the data's checksum agree.
    """
    step = _GRID * 2.0 ** math.floor(math.log2(deviation))
    return (np.round(examples / step) * step).astype(np.float32)
