"""The Laplace decoder: absolute errors, with one learned scale."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from vae_models.config import LEAST_LOG_SIGMA
from vae_models.likelihood import Likelihood, PixelDistribution
from vae_models.soft_clamp import clamped_below, inverse_of_clamped_below

__all__ = ["Laplace", "LaplacePixels"]


@final
@dataclass(frozen=True)
class LaplacePixels(PixelDistribution):
    """Laplace(location, b), with one scale b for all pixels.

    Attributes:
        location: The mean, which is the median too.
        log_scale: ln b.
    """

    location: Float[Tensor, "batch channel height width"]
    log_scale: Float[Tensor, ""]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The location."""
        return self.location

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``‖x - location‖₁/b + N ln(2 b)``, and SE without a gradient."""
        with torch.no_grad():
            error = self.squared_error(images)
        absolute = l1_loss(self.location, images, reduction="none").flatten(1).sum(1)
        volume = self.location[0].numel() * (math.log(2) + self.log_scale)
        return torch.exp(-self.log_scale) * absolute + volume, error


@final
class Laplace(Likelihood):
    """A Laplace decoder with one learned scale, which starts from a variance of 1.

    ln b is softly clamped from below, for the reason that ln sigma of a learned Gaussian is.

    Args:
        activation: From the decoder's output to the location.
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        start = inverse_of_clamped_below(-0.5 * math.log(2), LEAST_LOG_SIGMA)
        self.raw_log_scale = nn.Parameter(torch.tensor(start))
        self.activation = activation

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> LaplacePixels:
        """Laplace(activation(output), b), with a gradient to b."""
        log_scale = clamped_below(self.raw_log_scale, LEAST_LOG_SIGMA)
        return LaplacePixels(self.activation(output), log_scale)

    @property
    def sigma2(self) -> float:
        """The variance 2 b² learned so far; reads it back from the device."""
        log_scale = clamped_below(self.raw_log_scale.detach(), LEAST_LOG_SIGMA)
        return 2 * torch.exp(2 * log_scale.cpu().double()).item()  # inf, as math.exp would raise
