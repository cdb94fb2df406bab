"""The convolutional family of the disentanglement literature, fitted to the image's size.

Four layers of 32, 32, 64 and 64 channels with 4x4 kernels and stride 2, then 256 hidden units
(Locatello et al. 2019, arXiv:1811.12359, for 64x64). Smaller images cannot be halved four times:
a layer whose input is narrower than 4 pixels is a 3x3 one with stride 1 instead.
"""

import math
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.initialisation import WEIGHTED, keep_variance
from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior_heads import PosteriorHead

__all__ = ["ConvDecoder", "ConvEncoder"]

_CHANNELS = (32, 32, 64, 64)
_HIDDEN = 256
_NARROWEST_HALVED = 4  # pixels


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """One convolution of the encoder: the shapes before and after it."""

    inputs: ImageShape
    outputs: ImageShape

    @property
    def halves(self) -> bool:
        return self.inputs[1:] != self.outputs[1:]

    def convolution(self) -> nn.Module:
        kernel, stride = (4, 2) if self.halves else (3, 1)
        return nn.Conv2d(self.inputs[0], self.outputs[0], kernel, stride, padding=1)

    def transposed(self) -> nn.Module:
        """The decoder's layer back; an odd size gets the row that halving rounded away."""
        kernel, stride = (4, 2) if self.halves else (3, 1)
        _, height, width = self.inputs
        odd = (height % 2, width % 2) if self.halves else (0, 0)
        return nn.ConvTranspose2d(
            self.outputs[0], self.inputs[0], kernel, stride, padding=1, output_padding=odd
        )


def _layers(image_shape: ImageShape) -> list[_Layer]:
    layers = []
    inputs = image_shape
    for channels in _CHANNELS:
        _, height, width = inputs
        halves = min(height, width) >= _NARROWEST_HALVED
        size = (height // 2, width // 2) if halves else (height, width)
        layers.append(_Layer(inputs=inputs, outputs=(channels, *size)))
        inputs = layers[-1].outputs
    return layers


def _initialise_hidden(stack: nn.Sequential) -> None:
    """Lets all layers but the last keep the signal's variance; the last keeps torch's weights."""
    layers = [layer for layer in stack if isinstance(layer, WEIGHTED)]
    for layer in layers[:-1]:
        keep_variance(layer)


@final
class ConvEncoder(Encoder):
    """Four convolutions, a hidden layer, then what the posterior needs."""

    def __init__(self, image_shape: ImageShape, head: PosteriorHead) -> None:
        super().__init__(head)
        layers = _layers(image_shape)
        stack = nn.Sequential()
        for layer in layers:
            stack.extend([layer.convolution(), nn.ReLU(inplace=True)])
        stack.extend([nn.Flatten(), nn.Linear(math.prod(layers[-1].outputs), _HIDDEN)])
        stack.extend([nn.ReLU(inplace=True), nn.Linear(_HIDDEN, head.outputs)])
        _initialise_hidden(stack)
        self.layers = stack

    def outputs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch output"]:
        """Mean and covariance of every image, both depending on it."""
        outputs: Tensor = self.layers(images)
        return outputs


@final
class ConvDecoder(Decoder):
    """The encoder backwards, with transposed convolutions."""

    def __init__(self, output_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        layers = _layers(output_shape)
        narrowest = layers[-1].outputs
        stack = nn.Sequential(nn.Linear(latent_dim, _HIDDEN), nn.ReLU(inplace=True))
        stack.extend([nn.Linear(_HIDDEN, math.prod(narrowest)), nn.Unflatten(1, narrowest)])
        for layer in reversed(layers):
            stack.extend([nn.ReLU(inplace=True), layer.transposed()])
        _initialise_hidden(stack)
        self.layers = stack

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch output height width"]:
        """The likelihood's numbers for every pixel."""
        pixels: Tensor = self.layers(latents)
        return pixels
