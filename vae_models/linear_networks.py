"""The linear family: the VAE whose optimum is probabilistic PCA, in closed form."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior_heads import PosteriorHead

__all__ = ["LinearDecoder", "LinearEncoder"]


@final
class LinearEncoder(Encoder):
    """An affine mean and a covariance that is the same for every image.

    That is the whole posterior family of probabilistic PCA (Lucas et al. 2019, arXiv:1911.02469).
    """

    def __init__(self, image_shape: ImageShape, head: PosteriorHead) -> None:
        super().__init__(head)
        self.mean = nn.Linear(math.prod(image_shape), head.latent_dim)
        # With posterior "full" the entries below the diagonal follow; checkpoints know the old name.
        self.raw_log_variance = nn.Parameter(torch.zeros(head.covariance_outputs))

    def outputs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch output"]:
        """``V x + c``, and what S is made of: learned, but independent of x."""
        mean = self.mean(images.flatten(1))
        covariance = self.raw_log_variance.expand(len(mean), -1)
        return torch.cat([mean, covariance.to(mean)], dim=1)


@final
class LinearDecoder(Decoder):
    """An affine map from latents to pixels."""

    def __init__(self, output_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self._output_shape = output_shape
        self.output = nn.Linear(latent_dim, math.prod(output_shape))

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch output height width"]:
        """W z + d."""
        pixels: Tensor = self.output(latents)
        return pixels.view(-1, *self._output_shape)
