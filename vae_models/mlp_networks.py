"""The multilayer-perceptron family: ReLU layers of any widths, mirrored in the decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior import DiagonalNormal, posterior_of

__all__ = ["MlpDecoder", "MlpEncoder"]


@final
class MlpEncoder(Encoder):
    """Hidden ReLU layers, then one affine layer to means and log-variances."""

    def __init__(self, image_shape: ImageShape, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self.layers = _perceptron([math.prod(image_shape), *hidden, 2 * latent_dim])

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> DiagonalNormal:
        """N(mean(x), diag s(x))."""
        mean, raw_log_variance = self.layers(images.flatten(1)).chunk(2, dim=1)
        return posterior_of(mean, raw_log_variance)


@final
class MlpDecoder(Decoder):
    """The encoder's hidden layers in reverse order, then one affine layer to the pixels."""

    def __init__(self, image_shape: ImageShape, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self._image_shape = image_shape
        self.layers = _perceptron([latent_dim, *reversed(hidden), math.prod(image_shape)])

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch channel height width"]:
        """One number per pixel."""
        pixels: Tensor = self.layers(latents)
        return pixels.view(-1, *self._image_shape)


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Affine layers between successive widths, with ReLUs between the layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])
