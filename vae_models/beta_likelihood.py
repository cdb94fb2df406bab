"""The beta decoder: a density on grey levels with a shape of its own for every pixel."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from vae_models.likelihood import Likelihood, PixelDistribution
from vae_models.precision import float64

__all__ = ["Beta", "BetaPixels"]

_LEAST_SHAPE = 1e-3
_GREATEST_SHAPE = 2e4  # at the mean ½ a deviation of exp(-6), as the least sigma of a Gaussian
_LOG_JACOBIAN = math.log(255 / 256)


@final
@dataclass(frozen=True)
class BetaPixels(PixelDistribution):
    """A beta distribution per pixel, of the grey level squeezed into the open interval.

    ``x' = (255 x + ½)/256`` keeps black and white half a level away from 0 and 1, where a beta
    density is zero or infinite (Smithson & Verkuilen 2006,
    https://doi.org/10.1037/1082-989X.11.1.54). With the factor 255/256 for it, this is a density
    of x on (-1/510, 1 + 1/510).

    Attributes:
        first: The shape alpha.
        second: The shape beta.
    """

    first: Float[Tensor, "batch channel height width"]
    second: Float[Tensor, "batch channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """``(256 alpha/(alpha + beta) - ½)/255``."""
        return (256 * self.first / (self.first + self.second) - 0.5) / 255

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``Σ ln B(alpha, beta) - (alpha - 1) ln x' - (beta - 1) ln(1 - x') - ln(255/256)``.

        Computed in float64, where the difference of the log-gammas of large shapes has digits
        left. And SE, without a gradient.
        """
        with torch.no_grad():
            error = self.squared_error(images)
        first, second = float64(self.first), float64(self.second)
        squeezed = (255 * float64(images) + 0.5) / 256
        kernel = (first - 1) * torch.log(squeezed) + (second - 1) * torch.log1p(-squeezed)
        nll = _log_beta(first, second) - kernel - _LOG_JACOBIAN
        return nll.flatten(1).sum(1).to(error), error


@final
class Beta(Likelihood):
    """Grey pixels in [0, 1]; the decoder gives every pixel the two shapes before a softplus.

    Shapes are softly clamped between 0.001 and 20,000: a pixel that never changes has a density
    without a bound.
    """

    outputs_per_pixel: ClassVar[int] = 2

    def forward(self, output: Float[Tensor, "batch output height width"]) -> BetaPixels:
        """Beta(shape(first), shape(second)), independently for every pixel."""
        first, second = output.chunk(2, dim=1)
        return BetaPixels(_shape(first), _shape(second))


def _shape(raw: Tensor) -> Tensor:
    """``floor + softplus(raw)``, bent below the greatest shape."""
    return _LEAST_SHAPE + softplus(raw - softplus(raw - _GREATEST_SHAPE))


def _log_beta(first: Tensor, second: Tensor) -> Tensor:
    return torch.lgamma(first) + torch.lgamma(second) - torch.lgamma(first + second)
