"""The linear family: the VAE whose optimum is probabilistic PCA, in closed form."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior import DiagonalNormal, bounded_log_variance

__all__ = ["LinearDecoder", "LinearEncoder"]


@final
class LinearEncoder(Encoder):
    """An affine mean and a log-variance that is the same for every image.

    That is the whole posterior family of probabilistic PCA (Lucas et al. 2019, arXiv:1911.02469).
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(math.prod(image_shape), latent_dim)
        self.raw_log_variance = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> DiagonalNormal:
        """N(V x + c, diag s), with s learned but independent of x."""
        mean = self.mean(images.flatten(1))
        log_variance = bounded_log_variance(self.raw_log_variance)
        return DiagonalNormal(mean, log_variance.expand_as(mean))


@final
class LinearDecoder(Decoder):
    """An affine map from latents to pixels."""

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self._image_shape = image_shape
        self.output = nn.Linear(latent_dim, math.prod(image_shape))

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch channel height width"]:
        """W z + d."""
        pixels: Tensor = self.output(latents)
        return pixels.view(-1, *self._image_shape)
