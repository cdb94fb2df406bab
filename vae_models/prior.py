"""What every prior offers: the distribution over the latents that its parameters stand for."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.posterior import Posterior
from vae_models.prior_distributions import PriorDistribution

__all__ = ["Encode", "Prior"]

Encode = Callable[[Tensor], Posterior]
"""From images to the posterior over their latents."""


class Prior(nn.Module, ABC):
    """A module that returns p(z)."""

    @abstractmethod
    def forward(self, encode: Encode) -> PriorDistribution:
        """p(z) as the parameters are now.

        Args:
            encode: The model's encoder, for priors that are made of posteriors.
        """

    def observe(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Told the images of a training step before it; most priors do not look at them."""
