"""The random numbers of one training: the order of its data and all the noise in it."""

from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["STEPS_AT_A_TIME", "RandomStreams"]

STEPS_AT_A_TIME = 16
"""Steps whose noise is drawn at a time: fewer, larger draws are what a GPU likes."""

_ORDER, _NOISE, _BINARISATION, _PRIOR = range(4)


@final
class RandomStreams:
    """Streams of their own for each purpose and epoch.

    They depend on the trial's seed, its shapes and the epoch only: not on other trials, on the
    global random state or on whether the training was interrupted. The order of the data is the
    same on every device.

    Args:
        seed: The trial's.
        latents: M.
        batch: Examples per step.
        examples: Training examples.
        device: Where the noise is drawn.
    """

    def __init__(
        self, seed: int, *, latents: int, batch: int, examples: int, device: torch.device
    ) -> None:
        self._seed = seed
        self._shape = (batch, latents)
        self._examples = examples
        self._device = device
        self._noise = torch.Generator(device)
        self._binarisation = torch.Generator(device)
        self._prior = torch.Generator(device)

    def start_epoch(self, epoch: int) -> Int[Tensor, "step batch"]:
        """Starts all streams of an epoch, counted from 0; returns the order of the data.

        That is a fresh permutation of the training split, cut into full batches, on the CPU.
        """
        self._noise.manual_seed(self._seed_of(_NOISE, epoch))
        self._binarisation.manual_seed(self._seed_of(_BINARISATION, epoch))
        self._prior.manual_seed(self._seed_of(_PRIOR, epoch))
        generator = torch.Generator().manual_seed(self._seed_of(_ORDER, epoch))
        order = torch.randperm(self._examples, generator=generator)
        batch = self._shape[0]
        return order[: self._examples // batch * batch].view(-1, batch)

    def noise(self, steps: int) -> Float[Tensor, "step batch latent"]:
        """Standard normal noise of the next steps."""
        return self._normal(self._noise, steps)

    def uniforms(self, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
        """Uniform numbers in [0, 1) for the dynamic binarisation of the next step's images."""
        return torch.rand(shape, generator=self._binarisation, device=self._device)

    def prior_draws(self, steps: int) -> tuple[Tensor, Tensor]:
        """What draws from the prior are made of, of the next steps: normal and uniform numbers."""
        noise = self._normal(self._prior, steps)
        shape = (steps, self._shape[0])
        return noise, torch.rand(shape, generator=self._prior, device=self._device)

    def _normal(self, generator: torch.Generator, steps: int) -> Tensor:
        return torch.randn((steps, *self._shape), generator=generator, device=self._device)

    def _seed_of(self, stream: int, epoch: int) -> int:
        """A seed for one stream in one epoch, unrelated to that of any other (NumPy's hash)."""
        state = np.random.SeedSequence([self._seed, stream, epoch]).generate_state(1, np.uint64)
        return int(state[0])
