"""The categorical decoder: a probability for each of 256 grey levels, for small images."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.likelihood import Likelihood, PixelDistribution

__all__ = ["Categorical256", "CategoricalPixels"]

_LEVELS = 256


@final
@dataclass(frozen=True)
class CategoricalPixels(PixelDistribution):
    """A categorical distribution per pixel over the grey levels k/255.

    Values between two levels count as the nearer.

    Attributes:
        log_probability: ln P(k) of every level k.
    """

    log_probability: Float[Tensor, "batch level channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """``Σ P(k) k/255``."""
        logs = self.log_probability
        levels = torch.arange(_LEVELS, device=logs.device, dtype=logs.dtype) / (_LEVELS - 1)
        mean = levels @ self.log_probability.exp().flatten(2)
        return mean.view(-1, *self.log_probability.shape[2:])

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``-Σ ln P(k)``, and SE to the images as they are, without a gradient."""
        with torch.no_grad():
            error = self.squared_error(images)
        level = torch.round((_LEVELS - 1) * images).long().unsqueeze(1)
        log_probability = self.log_probability.gather(1, level)
        return -log_probability.flatten(1).sum(1), error


@final
class Categorical256(Likelihood):
    """256 grey levels; the decoder gives every pixel their logits."""

    outputs_per_pixel: ClassVar[int] = _LEVELS
    levels: ClassVar[int | None] = _LEVELS

    def forward(self, output: Float[Tensor, "batch output height width"]) -> CategoricalPixels:
        """Categorical(softmax(output)), independently for every pixel."""
        batch, channels, height, width = output.shape
        logits = output.reshape(batch, _LEVELS, channels // _LEVELS, height, width)
        return CategoricalPixels(torch.log_softmax(logits, dim=1))
