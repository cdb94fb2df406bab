"""What a regulariser is: a module from the terms of a pass to a loss and its two weights."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.terms import Terms

__all__ = ["Loss", "PriorDraws", "Regulariser", "stacked"]


@final
@dataclass(frozen=True, slots=True)
class Loss:
    """A loss, and the weights on the two terms that its gradient amounts to at this step.

    Attributes:
        value: In training units; a mean over the batch.
        nll_weight: ∂loss/∂(mean NLL in nats).
        rate_weight: ∂loss/∂(mean KL in nats); 0 where the KL is no part of the loss. Where the
            loss is a nonlinear function of KLs, its class says which derivative is meant.
    """

    value: Float[Tensor, ""]
    nll_weight: Float[Tensor, ""] | float
    rate_weight: Float[Tensor, ""] | float


@final
@dataclass(frozen=True, slots=True)
class PriorDraws:
    """What draws from the prior are made of, as many as the batch has examples.

    Attributes:
        noise: Standard normal.
        choice: Uniform in [0, 1).
    """

    noise: Float[Tensor, "batch latent"]
    choice: Float[Tensor, " batch"]


class Regulariser(nn.Module, ABC):
    """A module from the terms of a pass to the loss that is minimised.

    What it adapts on the way (a multiplier, a moving average) are its buffers: a checkpoint holds
    them. A `Regulariser` has no parameters: the optimiser never sees it.
    """

    needs_prior_draws: bool = False
    """Whether `forward` needs `draws`."""

    @abstractmethod
    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,
    ) -> Loss:
        """The loss of one step.

        Args:
            terms: Of the batch.
            annealing: The schedule's share of the full weight at this step, in [0, 1].
            draws: Given where `needs_prior_draws`.
        """


def stacked(loss: Loss, device: torch.device) -> Float[Tensor, " 3"]:
    """The value and the two weights on a device, without a gradient."""
    parts = (loss.value.detach(), loss.nll_weight, loss.rate_weight)
    return torch.stack([_number(part, device) for part in parts])


def _number(part: Tensor | float, device: torch.device) -> Float[Tensor, ""]:
    if isinstance(part, Tensor):
        return part.to(device=device, dtype=torch.float32)
    return torch.full((), part, device=device)  # filled there: no copy for which the host waits
