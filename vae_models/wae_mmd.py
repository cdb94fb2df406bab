"""The Wasserstein autoencoder with the maximum mean discrepancy."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from vae_models.constants import hold_constant
from vae_models.errors import ConfigError
from vae_models.mmd import squared_mmd
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["WaeMmd"]


@final
class WaeMmd(Regulariser):
    """``w_nll (NLL + annealing mmd_weight MMD²(q(z), p(z)))``.

    MMD², without a unit, is between the draws z ~ q(z|x) of the batch and as many from the prior,
    by inverse multiquadratics of width ``2 M scale²``, the mean squared distance of two draws
    from N(0, scale² I). It asks that the batch as a whole looks like the prior, not each
    posterior: the KL is no part of the loss, and the rate's weight is 0. The rate of the model is
    finite all the same, as its posteriors have a variance, and is evaluated as for any other.
    Tolstikhin et al. 2018, https://arxiv.org/abs/1711.01558, algorithm 2.

    Args:
        nll_weight: w_nll, the overall scale of the loss.
        mmd_weight: Weight of MMD² against the NLL in nats.
        prior_scale: Standard deviation of the prior's latents, for the width.
        batch: Draws per step.

    Raises:
        ConfigError: The batch has one example, which has no pair.
    """

    needs_prior_draws = True

    _nll_weight: Float[Tensor, ""]
    _mmd_weight: Float[Tensor, ""]
    _prior_variance: Float[Tensor, ""]

    def __init__(
        self, nll_weight: float, *, mmd_weight: float, prior_scale: float, batch: int
    ) -> None:
        super().__init__()
        if batch < 2:
            raise ConfigError.unmet(
                "batch >= 2", "regulariser 'wae_mmd' (it compares pairs of draws)", batch=batch
            )
        hold_constant(self, "_nll_weight", nll_weight)
        hold_constant(self, "_mmd_weight", mmd_weight)
        hold_constant(self, "_prior_variance", prior_scale**2)

    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,
    ) -> Loss:
        """The mean NLL, and the discrepancy between the latents and draws from the prior."""
        if draws is None:
            raise ValueError("`draws` must be given to regulariser 'wae_mmd', but got None.")
        latents = terms.latents
        width = 2.0 * terms.posterior.latents * self._prior_variance
        drawn = terms.prior.sample(draws.noise, draws.choice)
        discrepancy = annealing * self._mmd_weight * squared_mmd(latents, drawn, width)
        value = self._nll_weight * (terms.distortion_nll_nats.mean() + discrepancy)
        return Loss(value, self._nll_weight, 0.0)
