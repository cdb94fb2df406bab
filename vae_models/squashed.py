"""The KL through a sigmoid: an answer often given, here so that its effect can be seen."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.constants import hold_constant
from vae_models.objective import Weights
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["Squashed"]


@final
class Squashed(Regulariser):
    """``w_nll NLL + annealing w_rate mean(sigmoid(K))``, K in nats.

    Every example's KL is squashed into [½, 1). The pull on it is ``sigmoid'(K)``: a quarter of
    the plain weight at K = 0, 0.018 of it at 4 nats, 4.5e-5 at 10. So the weight fades as the KL
    grows, and beyond a few nats nothing holds the KL: the model tends to a plain autoencoder
    whose latents the prior does not describe, or stays collapsed where it started so. No paper;
    advice given in answers to "the generative loss does not fall".

    The rate's weight is the derivative along a growth of every example's KL by the same nats:
    ``annealing w_rate mean(sigmoid'(K))``.

    Args:
        weights: Of one example's NLL and squashed KL.
    """

    _nll_weight: Float[Tensor, ""]
    _rate_weight: Float[Tensor, ""]

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        hold_constant(self, "_nll_weight", weights.nll)
        hold_constant(self, "_rate_weight", weights.rate)

    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The weighted sum of the mean NLL and the mean of the squashed KLs."""
        full = annealing * self._rate_weight
        value = terms.distortion_nll_nats.mean() * self._nll_weight
        value = value + full * torch.sigmoid(terms.rate_nats).mean()
        rate = terms.rate_nats.detach()
        slope = torch.sigmoid(rate) * torch.sigmoid(-rate)  # keeps its digits at a large KL
        return Loss(value, self._nll_weight, full * slope.mean())
