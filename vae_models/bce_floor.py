"""The floor of the binary cross-entropy on grey images: the entropy of their pixels."""

import torch

from vae_models.data import DataSet
from vae_models.vae import VAE

__all__ = ["bce_floor_nats"]

_NUMBERS = 2**22  # of pixels that are held in float64 at a time


def bce_floor_nats(model: VAE, data: DataSet) -> float | None:
    """The least that a cross-entropy of the held-out images can be, nats per example.

    ``E_x Σ_pixels -[x ln x + (1 - x) ln(1 - x)]``, reached where the decoder's probability is the
    grey value itself. It is zero on binary images, where the cross-entropy is an NLL.

    Args:
        model: The model whose likelihood counts.
        data: The data set whose held-out split counts.

    Returns:
        The floor; None for a likelihood that is no cross-entropy, and for binary data.
    """
    if model.likelihood.levels != 2 or data.binary:
        return None
    images = data.heldout_images().flatten(1)
    batches = torch.split(images, max(1, _NUMBERS // images.shape[1]))
    total = sum(_entropy_nats(batch.cpu().double()) for batch in batches)
    return total / len(images)


def _entropy_nats(probabilities: torch.Tensor) -> float:
    p = probabilities.clamp(0, 1)  # rounding of grey levels to float32
    return float(torch.special.entr(torch.stack((p, 1 - p))).sum())
