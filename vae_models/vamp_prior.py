"""The VampPrior: a mixture of the encoder's own posteriors at learned pseudo-inputs."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.errors import ConfigError
from vae_models.mixture_distribution import MixturePrior
from vae_models.networks import ImageShape
from vae_models.posterior import DiagonalNormal
from vae_models.prior import Encode, Prior

__all__ = ["VampPrior"]

_JITTER = 0.01  # of the images' standard deviation


@final
class VampPrior(Prior):
    """``p(z) = (1/K) Σ_k q(z|u_k)`` with learned pseudo-inputs u_k, in model units.

    The pseudo-inputs start as the first images of the training, repeated where K is larger than
    the batch, with a hundredth of their standard deviation as noise, which keeps repeated ones
    apart. So they fit data of any range: Adam moves a pixel by about one learning rate a step,
    whatever its unit, and would not get from a fixed range to far-off data. (The paper draws them
    at random near the mean pixel of its data, or takes training images.) For the same reason
    they are not cut to the range of images. Until a training begins they are standard normal
    noise.

    Reference: J. M. Tomczak, M. Welling (2018), https://arxiv.org/abs/1705.07120.

    Args:
        components: K.
        image_shape: Channels, height, width.
    """

    def __init__(self, components: int, image_shape: ImageShape) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.randn(components, *image_shape))
        self._started: Tensor
        self.register_buffer("_started", torch.tensor(False))

    def forward(self, encode: Encode) -> MixturePrior:
        """The posteriors at the pseudo-inputs, in equal parts.

        Raises:
            ConfigError: The posteriors are not diagonal.
        """
        posterior = encode(self.pseudo_inputs)
        if not isinstance(posterior, DiagonalNormal):
            raise ConfigError(
                "Prior 'vamp' must have posterior='diagonal', "
                f"but got a {type(posterior).__name__}."
            )
        log_weights = posterior.mean.new_full((len(posterior.mean),), -math.log(self._components))
        return MixturePrior(log_weights, posterior.mean, 0.5 * posterior.log_variance)

    @torch.no_grad()
    def observe(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Takes the first batch of a training as pseudo-inputs; no later one.

        Which one is first is decided on the device, so that the host need not wait for it.
        """
        repeated = torch.arange(self._components, device=images.device) % len(images)
        noise = _JITTER * images.std(correction=0) * self.pseudo_inputs
        start = images[repeated] + noise
        self.pseudo_inputs.copy_(torch.where(self._started, self.pseudo_inputs, start))
        self._started.fill_(True)

    @property
    def _components(self) -> int:
        return len(self.pseudo_inputs)
