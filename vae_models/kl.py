"""The KL, weighted: the beta-VAE, and with beta = 1 the VAE."""

from typing import final

from vae_models.objective import Weights
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["KlRegulariser"]


@final
class KlRegulariser(Regulariser):
    """``w_nll NLL + annealing w_rate K``, in nats: the beta-VAE in any reduction.

    Higgins et al. 2017, https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        weights: Of one example's NLL and KL.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights = weights

    def forward(
        self,
        terms: Terms,
        annealing: float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The weighted sum of the two means."""
        weights, rate_weight = self._weights, annealing * self._weights.rate
        nll, rate = terms.distortion_nll_nats.mean(), terms.rate_nats.mean()
        return Loss(weights.nll * nll + rate_weight * rate, weights.nll, rate_weight)
