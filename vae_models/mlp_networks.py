"""The multilayer-perceptron family: ReLU layers of any widths, mirrored in the decoder."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior_heads import PosteriorHead

__all__ = ["MlpDecoder", "MlpEncoder"]


@final
class MlpEncoder(Encoder):
    """Hidden ReLU layers, then one affine layer to what the posterior needs."""

    def __init__(
        self, image_shape: ImageShape, hidden: Sequence[int], head: PosteriorHead
    ) -> None:
        super().__init__(head)
        self.layers = _perceptron([math.prod(image_shape), *hidden, head.outputs])

    def outputs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch output"]:
        """Mean and covariance of every image, both depending on it."""
        outputs: Tensor = self.layers(images.flatten(1))
        return outputs


@final
class MlpDecoder(Decoder):
    """The encoder's hidden layers in reverse order, then one affine layer to the pixels."""

    def __init__(self, output_shape: ImageShape, hidden: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        self._output_shape = output_shape
        self.layers = _perceptron([latent_dim, *reversed(hidden), math.prod(output_shape)])

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch output height width"]:
        """The likelihood's numbers for every pixel."""
        pixels: Tensor = self.layers(latents)
        return pixels.view(-1, *self._output_shape)


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Affine layers between successive widths, with ReLUs between the layers."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])
