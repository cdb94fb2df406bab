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

from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior import DiagonalNormal, posterior_of

__all__ = ["ConvDecoder", "ConvEncoder"]

_CHANNELS = (32, 32, 64, 64)
_HIDDEN = 256
_NARROWEST_HALVED = 4  # pixels
_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


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
    """Gives the layers before a ReLU weights that keep the variance (He et al. 2015).

    With torch's own, smaller weights, six layers deep, the encoder's signal is so faint that the
    latents collapse at any beta in the first epochs (see the test of the convolutional family).
    The last layer keeps torch's.
    """
    layers = [layer for layer in stack if isinstance(layer, _WEIGHTED)]
    for layer in layers[:-1]:
        bound = math.sqrt(6 / _inputs_per_output(layer))
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _inputs_per_output(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """How many inputs reach one output; in a transposed layer a stride leaves gaps."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight[:, 0].numel() / math.prod(layer.stride)
    return float(layer.weight[0].numel())


@final
class ConvEncoder(Encoder):
    """Four convolutions, a hidden layer, then means and log-variances."""

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        layers = _layers(image_shape)
        stack = nn.Sequential()
        for layer in layers:
            stack.extend([layer.convolution(), nn.ReLU(inplace=True)])
        stack.extend([nn.Flatten(), nn.Linear(math.prod(layers[-1].outputs), _HIDDEN)])
        stack.extend([nn.ReLU(inplace=True), nn.Linear(_HIDDEN, 2 * latent_dim)])
        _initialise_hidden(stack)
        self.layers = stack

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> DiagonalNormal:
        """N(mean(x), diag s(x))."""
        mean, raw_log_variance = self.layers(images).chunk(2, dim=1)
        return posterior_of(mean, raw_log_variance)


@final
class ConvDecoder(Decoder):
    """The encoder backwards, with transposed convolutions."""

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        layers = _layers(image_shape)
        narrowest = layers[-1].outputs
        stack = nn.Sequential(nn.Linear(latent_dim, _HIDDEN), nn.ReLU(inplace=True))
        stack.extend([nn.Linear(_HIDDEN, math.prod(narrowest)), nn.Unflatten(1, narrowest)])
        for layer in reversed(layers):
            stack.extend([nn.ReLU(inplace=True), layer.transposed()])
        _initialise_hidden(stack)
        self.layers = stack

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch channel height width"]:
        """One number per pixel."""
        pixels: Tensor = self.layers(latents)
        return pixels
