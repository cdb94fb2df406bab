"""Free bits: the first nats of every group of latents cost nothing."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vae_models.constants import hold_constant
from vae_models.objective import Weights
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["FreeBits"]


@final
class FreeBits(Regulariser):
    """``w_nll NLL + annealing w_rate Σ_g max(free_nats, K_g)``, all in nats.

    K_g is the batch mean of the KL of group g of the latents. A group below its free nats gets no
    pull towards the prior; nothing free is the plain KL, since no KL is negative. Kingma et al.
    2016, https://arxiv.org/abs/1606.04934, eq. 15.

    The rate's weight is the derivative along a growth of all KLs by one factor:
    ``annealing w_rate (Σ_{g: K_g >= free_nats} K_g) / Σ_g K_g``, the share of the KL that pays.

    Args:
        weights: Of one example's NLL and KL.
        free_nats: Nats per group that cost nothing.
        group_size: Latents per group, in their order; the last group may have fewer. 0 for one
            group of all, which any posterior and prior can have.
    """

    _floor: Float[Tensor, ""]
    _nll_weight: Float[Tensor, ""]
    _rate_weight: Float[Tensor, ""]

    def __init__(self, weights: Weights, *, free_nats: float, group_size: int) -> None:
        super().__init__()
        hold_constant(self, "_nll_weight", weights.nll)
        hold_constant(self, "_rate_weight", weights.rate)
        # An estimated KL can be negative: with nothing free, it is let through all the same.
        hold_constant(self, "_floor", free_nats if free_nats > 0 else -math.inf)
        self.group_size = group_size if free_nats > 0 else 0

    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The weighted sum of the mean NLL and the KL beyond what is free."""
        full = annealing * self._rate_weight
        kl, in_use = self._group_kl_nats(terms), self._groups_in_use(terms)
        # At a tie, `clamp` lets the whole gradient through.
        paid = (kl.clamp(min=self._floor) * in_use).sum()
        value = self._nll_weight * terms.distortion_nll_nats.mean() + full * paid
        return Loss(value, self._nll_weight, full * self._share_that_pays(kl.detach(), in_use))

    def _group_kl_nats(self, terms: Terms) -> Float[Tensor, " group"]:
        if self.group_size == 0:
            return terms.rate_nats.mean().unsqueeze(0)
        return self._groups(terms.latent_kl_nats.mean(0)).sum(1)

    def _groups_in_use(self, terms: Terms) -> Float[Tensor, " group"] | float:
        """1 for a group with a latent in use, 0 for one of idle latents only."""
        in_use = terms.posterior.in_use
        if self.group_size == 0 or not isinstance(in_use, Tensor):
            return 1.0
        return self._groups(in_use).amax(1)

    def _groups(self, values: Float[Tensor, " latent"]) -> Float[Tensor, "group member"]:
        return pad(values, (0, -len(values) % self.group_size)).view(-1, self.group_size)

    def _share_that_pays(
        self, kl: Float[Tensor, " group"], in_use: Float[Tensor, " group"] | float
    ) -> Float[Tensor, ""]:
        pays = (kl >= self._floor).to(kl)
        if isinstance(in_use, Tensor):
            pays = torch.where(in_use > 0, pays, pays[0])
        share = (pays * kl).sum() / kl.sum()
        return torch.where((pays == pays[0]).all(), pays[0], share)
