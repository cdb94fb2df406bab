"""The Bernoulli decoder: binary pixels."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from vae_models.likelihood import Likelihood, PixelDistribution

__all__ = ["Bernoulli", "BernoulliPixels"]


@final
@dataclass(frozen=True)
class BernoulliPixels(PixelDistribution):
    """A Bernoulli per pixel.

    Images between 0 and 1 are taken too, as is common practice; their ``log_prob`` is minus the
    binary cross-entropy, which is then no log-likelihood (its floor is the pixels' entropy).

    Attributes:
        logits: The decoder's output, ln(p / (1 - p)).
    """

    logits: Float[Tensor, "batch channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The probability of a one."""
        return torch.sigmoid(self.logits)

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``-Σ x ln p + (1 - x) ln(1 - p)``, and SE without its gradient, which nothing uses."""
        with torch.no_grad():
            error = self.squared_error(images)
        entropy = binary_cross_entropy_with_logits(self.logits, images, reduction="none")
        return entropy.flatten(1).sum(1), error


@final
class Bernoulli(Likelihood):
    """Binary pixels; the decoder's output is their logits."""

    levels: ClassVar[int | None] = 2

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> BernoulliPixels:
        """Bernoulli(sigmoid(output)), independently for every pixel."""
        return BernoulliPixels(output)
