"""The KL, weighted: the beta-VAE, and with beta = 1 the VAE."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from vae_models.constants import hold_constant
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
        """The weighted sum of the two means."""
        nll_weight, rate_weight = self._nll_weight, annealing * self._rate_weight
        nll, rate = terms.distortion_nll_nats.mean(), terms.rate_nats.mean()
        return Loss(nll_weight * nll + rate_weight * rate, nll_weight, rate_weight)
