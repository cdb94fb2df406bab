"""A Gaussian decoder with a variance for every pixel."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.config import LEAST_LOG_SIGMA
from vae_models.likelihood import GREATEST_LOG_SCALE, Likelihood, PixelDistribution
from vae_models.soft_clamp import clamped

__all__ = ["GaussianPixel", "HeteroscedasticPixels"]

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@final
@dataclass(frozen=True)
class HeteroscedasticPixels(PixelDistribution):
    """N(location, diag sigma²), with a sigma for every pixel of every image.

    Attributes:
        location: The mean.
        log_sigma: ln sigma.
    """

    location: Float[Tensor, "batch channel height width"]
    log_sigma: Float[Tensor, "batch channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The location."""
        return self.location

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``Σ (x - mean)²/(2 sigma²) + ln sigma + ½ ln(2 pi)``, and SE without a gradient."""
        difference = images - self.location
        standardised = difference * torch.exp(-self.log_sigma)
        nll = 0.5 * standardised.square() + self.log_sigma + _HALF_LOG_TAU
        error = difference.detach().square()
        return nll.flatten(1).sum(1), error.flatten(1).sum(1)


@final
class GaussianPixel(Likelihood):
    """A Gaussian decoder that gives every pixel its mean and its ln sigma.

    ln sigma is softly clamped: a pixel that never changes (a black corner) has a density without
    a bound.

    Args:
        activation: From the decoder's first number to the mean.
    """

    outputs_per_pixel: ClassVar[int] = 2

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, output: Float[Tensor, "batch output height width"]) -> HeteroscedasticPixels:
        """N(activation(first), diag sigma²) with ln sigma the second number, clamped."""
        raw_mean, raw_log_sigma = output.chunk(2, dim=1)
        log_sigma = clamped(raw_log_sigma, LEAST_LOG_SIGMA, GREATEST_LOG_SCALE)
        return HeteroscedasticPixels(self.activation(raw_mean), log_sigma)
