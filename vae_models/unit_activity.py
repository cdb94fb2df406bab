"""Which latents are active while a model trains, so that a collapse can be dated."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.precision import float64

__all__ = ["ACTIVE_VARIANCE", "UnitActivity", "moments"]

ACTIVE_VARIANCE = 0.01
"""A latent is active if Cov_x(E_q[z|x]) is above this (Burda et al. 2015, arXiv:1509.00519)."""


@torch.no_grad()
def moments(
    means: Float[Tensor, "batch latent"],
    scale: Float[Tensor, " latent"] | Float[Tensor, ""] | float,
) -> Float[Tensor, "2 latent"]:
    """Sum and sum of squares of a batch's posterior means, in units of the prior's deviation.

    In float64, on the device of the means or, where that has none (MPS), on the CPU.
    """
    wide = float64(means / scale)
    return torch.stack((wide.sum(0), wide.square().sum(0)))


@final
class UnitActivity:
    """Counts, epoch by epoch, the latents whose posterior mean varies over the training examples.

    The variance counts in units of the prior's, so that the prior's scale does not matter. An
    epoch's variance is over all its batches, while the encoder changes: a verdict on training,
    not a held-out metric.

    Args:
        latents: M.
    """

    def __init__(self, latents: int) -> None:
        self._last = [0] * latents

    @property
    def last_active_epochs(self) -> tuple[int, ...]:
        """Of every latent, the last epoch in which it was active; 0 for none."""
        return tuple(self._last)

    def restore(self, last_active_epochs: Sequence[int]) -> None:
        """Goes on from what `last_active_epochs` said; nothing said leaves it as it is."""
        if last_active_epochs:
            self._last = list(last_active_epochs)

    def end_epoch(self, epoch: int, sums: Sequence[Sequence[float]], examples: int) -> int:
        """Returns how many latents were active in the epoch that ends.

        Args:
            epoch: Its number, from 1.
            sums: The `moments` of its batches, added up.
            examples: How many examples they are of.
        """
        first, second = sums
        active = [
            b / examples - (a / examples) ** 2 > ACTIVE_VARIANCE
            for a, b in zip(first, second, strict=True)
        ]
        for latent, is_active in enumerate(active):
            if is_active:
                self._last[latent] = epoch
        return sum(active)
