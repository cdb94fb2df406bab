"""Capacity: the KL is held at a number of nats."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from vae_models.constants import hold_constant
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["Capacity"]


@final
class Capacity(Regulariser):
    """``w_nll (NLL + gamma |K - C|)`` with ``C = annealing capacity_nats``, in nats.

    K is the batch mean of the KL. The schedule anneals C, not the weight: at 0 this is the KL
    with beta = gamma. The optimum has ``R = max(C, R(beta = gamma))``. Burgess et al. 2018,
    https://arxiv.org/abs/1804.03599 (gamma 1000, C from 0 to 25 nats over 1e5 steps).

    A gamma far above the beta that would hold C makes training slow: the steps of Adam follow the
    KL, which swings about C, and hardly the NLL.

    The rate's weight is ``w_nll gamma sign(K - C)``: below C the KL is pushed up.

    Args:
        nll_weight: w_nll, the overall scale of the loss.
        gamma: Weight of the distance to C against the NLL.
        capacity_nats: C at the end of the annealing.
    """

    _nll_weight: Float[Tensor, ""]
    _gamma: Float[Tensor, ""]
    _capacity: Float[Tensor, ""]

    def __init__(self, nll_weight: float, *, gamma: float, capacity_nats: float) -> None:
        super().__init__()
        hold_constant(self, "_nll_weight", nll_weight)
        hold_constant(self, "_gamma", gamma)
        hold_constant(self, "_capacity", capacity_nats)

    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The mean NLL, and how far the mean KL is from C."""
        scale, gamma = self._nll_weight, self._gamma
        excess = terms.rate_nats.mean() - annealing * self._capacity
        value = scale * (terms.distortion_nll_nats.mean() + gamma * excess.abs())
        return Loss(value, scale, scale * gamma * excess.detach().sign())
