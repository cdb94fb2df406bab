"""What every likelihood offers: from a decoder's output to a distribution over images."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

__all__ = ["GREATEST_LOG_SCALE", "Likelihood", "PixelDistribution"]

GREATEST_LOG_SCALE = 6.0
"""Where the logarithm of a pixel's own scale is softly clamped from above."""


class PixelDistribution(ABC):
    """A distribution over images with independent pixels, one per example of a batch."""

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """E[x|z], in model units."""

    def log_prob(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """The logarithm of the density or probability p(x|z), summed over the pixels, in nats."""
        return -self.costs(images)[0]

    def squared_error(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """‖x - E[x|z]‖², summed over the pixels, in squared model units."""
        return mse_loss(self.mean, images, reduction="none").flatten(1).sum(1)

    @abstractmethod
    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``(-log_prob, squared_error)`` in one pass; only the first need carry a gradient."""


class Likelihood(nn.Module, ABC):
    """A module from a decoder's output to the distribution over images that it stands for."""

    outputs_per_pixel: ClassVar[int] = 1
    """k: how many numbers the decoder gives for each pixel (the first C channels are the first)."""

    levels: ClassVar[int | None] = None
    """How many levels a pixel has, from 0 to 1 in equal steps; None where p(x|z) is a density."""

    probabilistic: ClassVar[bool] = True
    """Whether the loss is minus a log-likelihood as people write it."""

    amounts_to: ClassVar[str | None] = None
    """What a loss that is no likelihood is equivalent to, in words."""

    @abstractmethod
    def forward(self, output: Float[Tensor, "batch output height width"]) -> PixelDistribution:
        """The distribution p(x|z) that the decoder's output, with k·C channels, parametrises."""

    def observe(
        self,
        output: Float[Tensor, "batch output height width"],
        images: Float[Tensor, "batch channel height width"],  # noqa: ARG002
    ) -> PixelDistribution:
        """The distribution in training, where the images are at hand; the same unless it adapts."""
        distribution: PixelDistribution = self(output)
        return distribution

    @property
    def sigma2(self) -> float | None:
        """The decoder's variance in squared model units; None where there is no single one."""
        return None
