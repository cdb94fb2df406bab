"""From the code of a batch to its loss, with all that is kept of a training step."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.likelihood import Likelihood
from vae_models.regulariser import PriorDraws, Regulariser, stacked
from vae_models.terms import Code
from vae_models.unit_activity import moments
from vae_models.vae import terms_of

__all__ = ["STEP_TERMS", "StepLoss", "StepResult"]

STEP_TERMS = ("loss", "NLL's weight", "rate's weight", "rate", "NLL", "squared error")
"""What `StepResult.terms` holds, in its order."""


@final
@dataclass(frozen=True, slots=True)
class StepResult:
    """What comes of one training step.

    Attributes:
        loss: To be minimised.
        terms: `STEP_TERMS`, means over the batch, without a gradient.
        moments: Of the posterior means, see `vae_models.unit_activity`.
    """

    loss: Float[Tensor, ""]
    terms: Float[Tensor, " term"]
    moments: Float[Tensor, "2 latent"]


@final
class StepLoss(nn.Module):
    """A likelihood and a regulariser: the part of a trial in which those of a pack may differ.

    Args:
        likelihood: The model's own.
        regulariser: The trial's.
    """

    def __init__(self, likelihood: Likelihood, regulariser: Regulariser) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.regulariser = regulariser

    def forward(
        self,
        code: Code,
        images: Float[Tensor, "batch channel height width"],
        annealing: Float[Tensor, ""],
        draws: PriorDraws | None,
    ) -> StepResult:
        """The loss of one step; both parts may learn from it."""
        terms = terms_of(code, self.likelihood, images)
        loss = self.regulariser(terms, annealing, draws)
        with torch.no_grad():
            means = (terms.rate_nats, terms.distortion_nll_nats, terms.distortion_se)
            kept = [stacked(loss, images.device), *(mean.mean().unsqueeze(0) for mean in means)]
            sums = moments(terms.posterior.mean, terms.prior.scale)
        return StepResult(loss.value, torch.cat(kept), sums)
