"""The beta-TCVAE: the total correlation of the latents weighs more than the rest of the KL."""

from typing import final

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

    def __init__(self, weights: Weights, *, tc_weight: float, examples: int) -> None:
        super().__init__()
        self._weights = weights
        self._extra = tc_weight - 1.0
        self._examples = examples

    def forward(
        self,
        terms: Terms,
        annealing: float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The weighted sum of the mean NLL, the mean KL and the extra TC."""
        weights, rate_weight = self._weights, annealing * self._weights.rate
        penalty = terms.rate_nats.mean()
        if self._extra != 0:
            correlation = total_correlation_nats(terms.latents, terms.posterior, self._examples)
            penalty = penalty + self._extra * correlation
        value = weights.nll * terms.distortion_nll_nats.mean() + rate_weight * penalty
        return Loss(value, weights.nll, rate_weight)
