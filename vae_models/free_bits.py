"""Free bits: the first nats of every group of latents cost nothing."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

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

    def __init__(self, weights: Weights, *, free_nats: float, group_size: int) -> None:
        super().__init__()
        self._weights = weights
        # An estimated KL can be negative: with nothing free, it is let through all the same.
        self._floor = free_nats if free_nats > 0 else -math.inf
        self._group_size = group_size if free_nats > 0 else 0

    def forward(
        self,
        terms: Terms,
        annealing: float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The weighted sum of the mean NLL and the KL beyond what is free."""
        weights, full = self._weights, annealing * self._weights.rate
        kl = self._group_kl_nats(terms)
        # At a tie, `clamp` lets the whole gradient through.
        value = weights.nll * terms.distortion_nll_nats.mean() + full * kl.clamp(self._floor).sum()
        return Loss(value, weights.nll, full * self._share_that_pays(kl.detach()))

    def _group_kl_nats(self, terms: Terms) -> Float[Tensor, " group"]:
        if self._group_size == 0:
            return terms.rate_nats.mean().unsqueeze(0)
        kl = terms.latent_kl_nats.mean(0)
        return pad(kl, (0, -len(kl) % self._group_size)).view(-1, self._group_size).sum(1)

    def _share_that_pays(self, kl: Float[Tensor, " group"]) -> Float[Tensor, ""]:
        pays = (kl >= self._floor).to(kl)
        share = (pays * kl).sum() / kl.sum()
        return torch.where((pays == pays[0]).all(), pays[0], share)
