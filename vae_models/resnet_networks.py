"""The residual family: convolutions with skip connections, without any normalisation.

Each stage halves every side that is at least 4 pixels long, then adds two residual blocks; there
are as many stages as the image can be halved, and one that halves nothing for the smallest. The
first stages have 32, 64 and then 128 channels.

A block is ``x + C(relu(B(relu(x))))`` with two 3x3 convolutions (He et al. 2016, identity
mappings, arXiv:1603.05027). C starts at zero, so that a fresh block is the identity and the
signal keeps its scale at any depth without batch normalisation (Zhang et al. 2019, Fixup,
arXiv:1901.09321), which would tie the examples of a batch together.
"""

import math
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from vae_models.initialisation import keep_variance
from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.posterior_heads import PosteriorHead

__all__ = ["ResidualBlock", "ResnetDecoder", "ResnetEncoder"]

_CHANNELS = (32, 64, 128)  # of the first stages; the last number also of all further ones
_BLOCKS = 2
_SHORTEST_HALVED = 4  # pixels


@final
class ResidualBlock(nn.Module):
    """``x + C(relu(B(relu(x))))``, at first the identity.

    Args:
        channels: Of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        keep_variance(self.first)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(
        self, signal: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """The signal plus what the two convolutions make of it."""
        branch: Tensor = self.second(relu(self.first(relu(signal)), inplace=True))
        return signal + branch


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """One change of resolution: the shapes on its finer and on its coarser side."""

    fine: ImageShape
    coarse: ImageShape

    @property
    def _strides(self) -> tuple[int, int]:
        _, height, width = self.fine
        return 1 + _is_halved(height), 1 + _is_halved(width)

    @property
    def _kernel(self) -> tuple[int, int]:
        vertical, horizontal = self._strides
        return 2 + vertical, 2 + horizontal

    @property
    def _rounded_away(self) -> tuple[int, int]:
        _, height, width = self.fine
        vertical, horizontal = self._strides
        return height % vertical, width % horizontal

    def down(self) -> nn.Conv2d:
        return nn.Conv2d(self.fine[0], self.coarse[0], self._kernel, self._strides, padding=1)

    def up(self) -> nn.ConvTranspose2d:
        """The way back; an odd side gets the row that halving rounded away."""
        channels = self.coarse[0], self.fine[0]
        odd = self._rounded_away
        return nn.ConvTranspose2d(*channels, self._kernel, self._strides, 1, output_padding=odd)

    def blocks(self) -> list[nn.Module]:
        return [ResidualBlock(self.coarse[0]) for _ in range(_BLOCKS)]


def _stages(image_shape: ImageShape) -> list[_Stage]:
    stages: list[_Stage] = []
    fine = image_shape
    while not stages or any(map(_is_halved, fine[1:])):
        channels = _CHANNELS[min(len(stages), len(_CHANNELS) - 1)]
        height, width = (side // (1 + _is_halved(side)) for side in fine[1:])
        stages.append(_Stage(fine=fine, coarse=(channels, height, width)))
        fine = stages[-1].coarse
    return stages


def _is_halved(side: int) -> bool:
    return side >= _SHORTEST_HALVED


@final
class ResnetEncoder(Encoder):
    """Stages of ever coarser residual blocks, then one affine layer."""

    def __init__(self, image_shape: ImageShape, head: PosteriorHead) -> None:
        super().__init__(head)
        stages = _stages(image_shape)
        stack = nn.Sequential()
        for stage in stages:
            down = stage.down()
            keep_variance(down)
            stack.extend([down, *stage.blocks(), nn.ReLU(inplace=True)])
        features = math.prod(stages[-1].coarse)
        stack.extend([nn.Flatten(), nn.Linear(features, head.outputs)])
        self.layers = stack

    def outputs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch output"]:
        """Mean and covariance of every image, both depending on it."""
        outputs: Tensor = self.layers(images)
        return outputs


@final
class ResnetDecoder(Decoder):
    """The encoder backwards, with transposed convolutions."""

    def __init__(self, output_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        first, *others = _stages(output_shape)
        coarsest = [first, *others][-1].coarse
        unfold = nn.Linear(latent_dim, math.prod(coarsest))
        keep_variance(unfold)
        stack = nn.Sequential(unfold, nn.Unflatten(1, coarsest))
        for stage in reversed(others):
            up = stage.up()
            keep_variance(up)
            stack.extend([*stage.blocks(), nn.ReLU(inplace=True), up])
        stack.extend([*first.blocks(), nn.ReLU(inplace=True), first.up()])
        self.layers = stack

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch output height width"]:
        """The likelihood's numbers for every pixel."""
        pixels: Tensor = self.layers(latents)
        return pixels
