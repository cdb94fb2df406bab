"""Which latents are active while a model trains, so that a collapse can be dated."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ACTIVE_VARIANCE", "UnitActivity"]

ACTIVE_VARIANCE = 0.01
"""A latent is active if Cov_x(E_q[z|x]) is above this (Burda et al. 2015, arXiv:1509.00519)."""


@final
class UnitActivity:
    """Counts, epoch by epoch, the latents whose posterior mean varies over the training examples.

    The variance counts in units of the prior's, so that the prior's scale does not matter.

    The sums stay on the device; the host reads them once per epoch. An epoch's variance is over
    all its batches, while the encoder changes: a verdict on training, not a held-out metric.

    Args:
        latents: M.
        device: Of the posterior means.
    """

    def __init__(self, latents: int, device: torch.device) -> None:
        self._last = [0] * latents
        self._sums = torch.zeros((2, latents), dtype=torch.float64, device=_exact(device))
        self._examples = 0

    @property
    def last_active_epochs(self) -> tuple[int, ...]:
        """Of every latent, the last epoch in which it was active; 0 for none."""
        return tuple(self._last)

    def restore(self, last_active_epochs: Sequence[int]) -> None:
        """Goes on from what `last_active_epochs` said; nothing said leaves it as it is."""
        if last_active_epochs:
            self._last = list(last_active_epochs)

    @torch.no_grad()
    def add(
        self, means: Float[Tensor, "batch latent"], scale: Float[Tensor, " latent"] | float
    ) -> None:
        """Adds the posterior means of one batch under a prior of this standard deviation."""
        wide = (means / scale).to(self._sums)
        self._sums += torch.stack((wide.sum(0), wide.square().sum(0)))
        self._examples += len(means)

    def end_epoch(self, epoch: int) -> int:
        """Returns how many latents were active in the epoch that ends, from 1."""
        first, second = (self._sums / max(self._examples, 1)).tolist()
        active = [b - a * a > ACTIVE_VARIANCE for a, b in zip(first, second, strict=True)]
        for latent, is_active in enumerate(active):
            if is_active:
                self._last[latent] = epoch
        self._sums.zero_()
        self._examples = 0
        return sum(active)


def _exact(device: torch.device) -> torch.device:
    """MPS has no float64."""
    return torch.device("cpu") if device.type == "mps" else device
