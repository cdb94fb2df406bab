"""The learned mixture of Gaussians as a prior."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.mixture_distribution import MixturePrior
from vae_models.normal_priors import bounded_log_scale
from vae_models.prior import Encode, Prior

__all__ = ["GaussianMixturePrior"]

_SHARE_OF_MEANS = 0.5  # of the prior's variance at the start


@final
class GaussianMixturePrior(Prior):
    """K diagonal Gaussians whose means, scales and weights are learned.

    They start at random places, with equal weights, and such that every latent has mean 0 and
    variance 1 under the mixture, half of it between the components: near N(0, I), where the
    networks are, and yet each component different, for equal ones would get equal gradients and
    stay equal.

    Reference: N. Dilokthanakul et al. (2016), https://arxiv.org/abs/1611.02648, for a mixture of
    Gaussians as the prior of a VAE.

    Args:
        components: K.
        latent_dim: M.
    """

    def __init__(self, components: int, latent_dim: int) -> None:
        super().__init__()
        share = _SHARE_OF_MEANS if components > 1 else 0.0
        means = math.sqrt(share) * _standardised(torch.randn(components, latent_dim))
        log_scales = torch.full((components, latent_dim), 0.5 * math.log(1 - share))
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(means)
        self.raw_log_scales = nn.Parameter(log_scales)

    def forward(self, encode: Encode) -> MixturePrior:  # noqa: ARG002
        """``Σ_k softmax(logits)_k N(means_k, diag s_k²)``, ln s bent smoothly into (-10, 10)."""
        log_scales = bounded_log_scale(self.raw_log_scales)
        return MixturePrior(self.logits.log_softmax(0), self.means, log_scales)


def _standardised(
    values: Float[Tensor, "component latent"],
) -> Float[Tensor, "component latent"]:
    """Shifted and scaled to mean 0 and mean square 1 over the components; 0 if there is one."""
    centred = values - values.mean(0)
    tiny = torch.finfo(values.dtype).tiny
    return centred / centred.square().mean(0).sqrt().clamp(min=tiny)
