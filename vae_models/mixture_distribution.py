"""A mixture of diagonal normal distributions over the latents."""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.prior_distributions import PriorDistribution

__all__ = ["MixturePrior"]

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@final
@dataclass(frozen=True, slots=True)
class MixturePrior(PriorDistribution):
    """``p(z) = Σ_k w_k N(z; mean_k, diag exp(2 log_scale_k))``.

    Attributes:
        log_weights: ln w_k; the weights sum to one.
        means: Of every component and latent.
        log_scales: ln of the standard deviation of every component and latent.
    """

    log_weights: Float[Tensor, " component"]
    means: Float[Tensor, "component latent"]
    log_scales: Float[Tensor, "component latent"]
    in_use: Float[Tensor, " latent"] | float = 1.0

    def using(self, in_use: Float[Tensor, " latent"]) -> "MixturePrior":
        """Means and log-scales of an idle latent are zero."""
        return replace(
            self, means=self.means * in_use, log_scales=self.log_scales * in_use, in_use=in_use
        )

    @property
    def closed_form(self) -> bool:
        """False: the KL of a normal to a mixture of normals has none."""
        return False

    @property
    def scale(self) -> Float[Tensor, " latent"]:
        """The root of the variance within the components and between them."""
        weights = self.log_weights.exp().unsqueeze(-1)
        mean = (weights * self.means).sum(0)
        second = torch.exp(2 * self.log_scales) + (self.means - mean).square()
        return (weights * second).sum(0).sqrt()

    def log_prob(self, latents: Float[Tensor, "*draw latent"]) -> Float[Tensor, "*draw"]:
        """``ln Σ_k w_k Π_j N(z_j; mean_kj, scale_kj²)``."""
        joint = self._log_normals(latents).sum(-1)
        return torch.logsumexp(joint + self.log_weights, dim=-1)

    def marginal_log_prob(
        self, latents: Float[Tensor, "*draw latent"]
    ) -> Float[Tensor, "*draw latent"]:
        """``ln Σ_k w_k N(z_j; mean_kj, scale_kj²)``: a mixture in one dimension per latent."""
        weighted = self._log_normals(latents) + self.log_weights.unsqueeze(-1)
        # the weights of an idle latent sum to one only up to rounding
        return torch.logsumexp(weighted, dim=-2) * self.in_use

    def sample(
        self, noise: Float[Tensor, "draw latent"], choice: Float[Tensor, " draw"]
    ) -> Float[Tensor, "draw latent"]:
        """``mean_k + scale_k noise``, k where the cumulative weights pass `choice`.

        Differentiable in the means and scales of the components that were chosen, not in the
        weights.
        """
        component = self._component(choice)
        scales = torch.exp(self.log_scales[component])
        return torch.addcmul(self.means[component], scales, noise)

    def _log_normals(
        self, latents: Float[Tensor, "*draw latent"]
    ) -> Float[Tensor, "*draw component latent"]:
        standard = (latents.unsqueeze(-2) - self.means) * torch.exp(-self.log_scales)
        return -0.5 * standard.square() - self.log_scales - self.in_use * _HALF_LOG_TAU

    @torch.no_grad()
    def _component(self, choice: Float[Tensor, " draw"]) -> Tensor:
        """The index of one component for each uniform number."""
        cumulative = self.log_weights.exp().cumsum(0)
        # Rounding may leave the last sum just below one, and a choice above it.
        index = (cumulative <= choice.to(cumulative).unsqueeze(-1)).sum(-1)
        return index.clamp(max=len(cumulative) - 1)
