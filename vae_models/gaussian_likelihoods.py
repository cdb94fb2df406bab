"""Gaussian decoders with one variance for all pixels: fixed, or learned."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.config import LEAST_LOG_SIGMA
from vae_models.constants import hold_constant
from vae_models.likelihood import Likelihood, PixelDistribution
from vae_models.soft_clamp import clamped_below, inverse_of_clamped_below

__all__ = ["Gaussian", "GaussianLearned", "GaussianPixels"]

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@final
@dataclass(frozen=True)
class GaussianPixels(PixelDistribution):
    """N(location, sigma² I), with one sigma for all pixels.

    Attributes:
        location: The mean.
        log_sigma: ln sigma.
        precision: 1/sigma², in inverse squared model units.
    """

    location: Float[Tensor, "batch channel height width"]
    log_sigma: Float[Tensor, ""] | float
    precision: Float[Tensor, ""] | float

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The location."""
        return self.location

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """SE, and the NLL that is an affine function of it.

        ``SE/(2 sigma²) + (N/2) ln(2 pi sigma²)``; both carry a gradient.
        """
        error = self.squared_error(images)
        pixels = self.location[0].numel()
        volume = pixels * (_HALF_LOG_TAU + self.log_sigma)
        return (0.5 * self.precision) * error + volume, error


@final
class Gaussian(Likelihood):
    """A Gaussian decoder with a fixed variance.

    Args:
        sigma2: The variance, in squared model units.
        activation: From the decoder's output to the mean.
    """

    _log_sigma: Float[Tensor, ""]
    _precision: Float[Tensor, ""]

    def __init__(self, sigma2: float, activation: nn.Module) -> None:
        super().__init__()
        self._sigma2 = sigma2
        hold_constant(self, "_log_sigma", 0.5 * math.log(sigma2))
        hold_constant(self, "_precision", 1 / sigma2)
        self.activation = activation

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> GaussianPixels:
        """N(activation(output), sigma² I)."""
        return GaussianPixels(self.activation(output), self._log_sigma, self._precision)

    @property
    def sigma2(self) -> float:
        """The fixed variance."""
        return self._sigma2


@final
class GaussianLearned(Likelihood):
    """A Gaussian decoder with one learned variance (Rybkin et al. 2021, arXiv:2006.13202).

    ln sigma is softly clamped from below: where the latents can hold everything and beta is at
    most one, the likelihood has no maximum.

    Args:
        sigma2: The variance that training starts from, in squared model units.
        activation: From the decoder's output to the mean.
    """

    def __init__(self, sigma2: float, activation: nn.Module) -> None:
        super().__init__()
        start = inverse_of_clamped_below(0.5 * math.log(sigma2), LEAST_LOG_SIGMA)
        self.raw_log_sigma = nn.Parameter(torch.tensor(start))
        self.activation = activation

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> GaussianPixels:
        """N(activation(output), sigma² I), with a gradient to sigma."""
        log_sigma = clamped_below(self.raw_log_sigma, LEAST_LOG_SIGMA)
        return GaussianPixels(self.activation(output), log_sigma, torch.exp(-2 * log_sigma))

    @property
    def sigma2(self) -> float:
        """The variance learned so far; reads it back from the device."""
        log_sigma = clamped_below(self.raw_log_sigma.detach(), LEAST_LOG_SIGMA)
        return torch.exp(2 * log_sigma.cpu().double()).item()  # inf, where math.exp would raise
