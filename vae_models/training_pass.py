"""What a training step is made of, and how the models of a pack are called in it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from vae_models.slot import Slot

__all__ = ["PackInputs", "PackResult", "Rates", "TrainingPass"]


Rates = Sequence[float] | Float[Tensor, " row"]
"""Learning rates: numbers, or on CUDA a tensor there."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PackInputs:
    """What a step needs, a row for each slot.

    Attributes:
        images: In model units.
        noise: Standard normal, zero for idle latents.
        annealing: The shares of the KL's weight.
        draws: Fields of `PriorDraws`, where a regulariser needs them.
    """

    images: Float[Tensor, "row batch channel height width"]
    noise: Float[Tensor, "row batch latent"]
    annealing: Float[Tensor, " row"]
    draws: tuple[Float[Tensor, "row batch latent"], Float[Tensor, "row batch"]] | None


@final
@dataclass(frozen=True, slots=True)
class PackResult:
    """What comes of a step, a row for each slot.

    Attributes:
        terms: `vae_models.step_losses.STEP_TERMS`.
        moments: See `vae_models.unit_activity`.
    """

    terms: Float[Tensor, "row term"]
    moments: Float[Tensor, "row 2 latent"]


class TrainingPass(ABC):
    """Makes training steps of some slots."""

    layout: int = 0
    """Rises whenever the memory changes in which `step` works."""

    @abstractmethod
    def take(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """From now on makes the steps of these slots; returns them in the order of their rows."""

    @abstractmethod
    def step(self, inputs: PackInputs, rates: Rates) -> PackResult:
        """One step of every slot, at these learning rates."""
