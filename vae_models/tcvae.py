"""The beta-TCVAE: the total correlation of the latents weighs more than the rest of the KL."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from vae_models.constants import hold_constant
from vae_models.minibatch_tc import total_correlation_nats
from vae_models.objective import Weights
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["BetaTcVae"]


@final
class BetaTcVae(Regulariser):
    """``w_nll NLL + annealing w_rate (K + (tc_weight - 1) TC)``, in nats.

    As ``R = I(x; z) + TC + Σ_j KL(q(z_j) ‖ p(z_j))``, this weighs the second part `tc_weight`
    times as much as the others; 1 is the plain KL. K is the VAE's own, TC the estimate of
    `vae_models.minibatch_tc`, whose value has an offset that its gradient does not have. Chen et
    al. 2018, https://arxiv.org/abs/1802.04942, eq. 4 with alpha = gamma = 1 (times beta).

    The rate's weight is the derivative at a fixed TC: ``annealing w_rate``.

    Args:
        weights: Of one example's NLL and KL.
        tc_weight: Weight of TC within the KL.
        examples: Training examples.
    """

    _extra: Float[Tensor, ""]
    _nll_weight: Float[Tensor, ""]
    _rate_weight: Float[Tensor, ""]

    def __init__(self, weights: Weights, *, tc_weight: float, examples: int) -> None:
        super().__init__()
        hold_constant(self, "_nll_weight", weights.nll)
        hold_constant(self, "_rate_weight", weights.rate)
        hold_constant(self, "_extra", tc_weight - 1.0)
        self.weighs_correlation = tc_weight != 1
        self._examples = examples

    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The weighted sum of the mean NLL, the mean KL and the extra TC."""
        nll_weight, rate_weight = self._nll_weight, annealing * self._rate_weight
        penalty = terms.rate_nats.mean()
        if self.weighs_correlation:
            correlation = total_correlation_nats(terms.latents, terms.posterior, self._examples)
            penalty = penalty + self._extra * correlation
        value = nll_weight * terms.distortion_nll_nats.mean() + rate_weight * penalty
        return Loss(value, nll_weight, rate_weight)
