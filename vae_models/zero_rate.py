"""What a model of rate zero reaches: it knows the training split's mean and nothing of the image.

These are the distortions at which the front begins, hence the reference points of hypervolumes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_models.spectrum import pixel_means

__all__ = ["bernoulli_nats", "squared_error"]


def squared_error(mean: NDArray[np.float64], heldout: NDArray[Any], scale: float) -> float:
    """Squared error of the held-out split to a mean image, summed over pixels, per example.

    E‖x − m‖² = Σ (E[x²] − 2 m E[x] + m²).

    Args:
        mean: m in model units, [N].
        heldout: Held-out examples as stored, [n, C, H, W].
        scale: Factor from stored values to model units.
    """
    rows = heldout.reshape(len(heldout), -1)
    squares = sum(float(np.dot(row, row)) for row in (line.astype(np.float64) for line in rows))
    cross = float(mean @ pixel_means(heldout, scale))
    return squares * scale**2 / len(rows) - 2 * cross + float(mean @ mean)


def bernoulli_nats(
    mean: NDArray[np.float64], count: int, heldout: NDArray[Any], scale: float
) -> float:
    """Negative log-likelihood of the held-out split under a product of Bernoullis, per example.

    −Σ (E[x] ln m + (1 − E[x]) ln(1 − m)), in nats. The means are kept half an example away from
    0 and 1, so that a pixel that was always black in training costs something finite.

    Args:
        mean: m of the training split in model units, [N].
        count: Number of training examples behind m.
        heldout: Held-out examples as stored, [n, C, H, W].
        scale: Factor from stored values to model units.
    """
    margin = 0.5 / max(count, 2)
    probability = mean.clip(margin, 1 - margin)
    ones = pixel_means(heldout, scale)
    return float(-(ones @ np.log(probability) + (1 - ones) @ np.log1p(-probability)))
