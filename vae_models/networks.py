"""What every family of networks offers: an encoder to a posterior, a decoder to an image."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.posterior import DiagonalNormal

__all__ = ["Decoder", "Encoder", "ImageShape"]

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


class Encoder(nn.Module, ABC):
    """A network from images to the posterior over their latents."""

    @abstractmethod
    def forward(self, images: Float[Tensor, "batch channel height width"]) -> DiagonalNormal:
        """q(z|x) for every image."""


class Decoder(nn.Module, ABC):
    """A network from latents to one number per pixel, whose meaning the likelihood gives."""

    @abstractmethod
    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Means (Gaussian) or logits (Bernoulli), without a final activation."""
