"""What every family of networks offers: an encoder to a posterior, a decoder to an image."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.posterior import Posterior
from vae_models.posterior_heads import PosteriorHead

__all__ = ["Decoder", "Encoder", "ImageShape"]

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


class Encoder(nn.Module, ABC):
    """A network from images to the posterior over their latents.

    Attributes:
        head: From the network's outputs to the posterior.
    """

    head: PosteriorHead

    def __init__(self, head: PosteriorHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Posterior:
        """q(z|x) for every image."""
        posterior: Posterior = self.head(self.outputs(images))
        return posterior

    @abstractmethod
    def outputs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch output"]:
        """The numbers that `head` makes a posterior of."""


class Decoder(nn.Module, ABC):
    """A network from latents to k numbers per pixel, whose meaning the likelihood gives."""

    @abstractmethod
    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch output height width"]:
        """k·C channels without a final activation: C of the first number, then C of the second."""
