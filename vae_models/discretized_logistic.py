"""The discretised logistic decoder: probabilities of 256 grey levels from two numbers."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from vae_models.likelihood import GREATEST_LOG_SCALE, Likelihood, PixelDistribution
from vae_models.soft_clamp import clamped

__all__ = ["DiscretizedLogistic", "DiscretizedLogisticPixels"]

_LEAST_LOG_SCALE = math.log(1 / 1020)  # a quarter of the width of a level
_TOP = 255
_HALF_CELL = 1 / 510
_EULER_MACLAURIN = 1 / (24 * _TOP**2)


@final
@dataclass(frozen=True)
class DiscretizedLogisticPixels(PixelDistribution):
    """A logistic distribution per pixel, of which every grey level k/255 takes its cell.

    ``P(k) = S((k + ½)/255) - S((k - ½)/255)`` with the logistic distribution function S; black
    and white take the tails (Kingma et al. 2016, arXiv:1606.04934; Salimans et al. 2017,
    arXiv:1701.05517, with one component). Values between two levels count as the nearer.

    Attributes:
        location: Of the logistic distribution, in model units.
        log_scale: ln s.
    """

    location: Float[Tensor, "batch channel height width"]
    log_scale: Float[Tensor, "batch channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The mean over the levels, to 1e-4 (a fortieth of a level).

        It is ``h Σ_k σ((m - t_k)/s)`` over the 255 cell boundaries t_k, h = 1/255 apart: the
        midpoint rule of the mean of the logistic distribution clipped to [0, 1],
        ``s [softplus(m/s) - softplus((m - 1)/s)]``, whose leading error (Euler & Maclaurin)
        is taken off. The rest is below 1e-4 since s is never less than a quarter of a level.
        """
        scale = torch.exp(self.log_scale)
        to_black, to_white = self.location / scale, (self.location - 1) / scale
        # As s [softplus - softplus], but nothing cancels far from [0, 1].
        tails = softplus(-to_black.abs()) - softplus(-to_white.abs())
        edges = _steepness(to_white) - _steepness(to_black)
        return self.location.clamp(0, 1) + scale * tails + _EULER_MACLAURIN * edges / scale

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``-Σ ln P(k)``, and SE to the images as they are, without a gradient."""
        with torch.no_grad():
            error = self.squared_error(images)
        return self._level_nll(images).flatten(1).sum(1), error

    def _level_nll(self, images: Tensor) -> Tensor:
        """Minus the logarithm of a difference of two sigmoids without a difference.

        ``σ(u) - σ(l) = (1 - e^-(u - l)) σ(u) σ(-l)``: three terms, of which black has only the
        second and white only the third.
        """
        level = torch.round(_TOP * images)
        distance, precision = level / _TOP - self.location, torch.exp(-self.log_scale)
        below_upper = softplus(-(distance + _HALF_CELL) * precision)
        above_lower = softplus((distance - _HALF_CELL) * precision)
        width = torch.log(-torch.expm1(-2 * _HALF_CELL * precision))
        not_black, not_white = level > 0, level < _TOP
        return not_white * below_upper + not_black * (above_lower - not_white * width)


@final
class DiscretizedLogistic(Likelihood):
    """256 grey levels; the decoder gives every pixel the location and ln s of its logistic.

    ln s is softly clamped, from below at a quarter of a level's width.
    """

    outputs_per_pixel: ClassVar[int] = 2
    levels: ClassVar[int | None] = 256

    def forward(
        self, output: Float[Tensor, "batch output height width"]
    ) -> DiscretizedLogisticPixels:
        """The discretised Logistic(first, s) with ln s the second number, clamped."""
        location, raw_log_scale = output.chunk(2, dim=1)
        log_scale = clamped(raw_log_scale, _LEAST_LOG_SCALE, GREATEST_LOG_SCALE)
        return DiscretizedLogisticPixels(location, log_scale)


def _steepness(values: Tensor) -> Tensor:
    """The sigmoid's derivative."""
    return torch.sigmoid(values) * torch.sigmoid(-values)
