"""What an encoder returns: a diagonal normal over the latents."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.soft_clamp import clamped

__all__ = ["DiagonalNormal", "bounded_log_variance", "posterior_of"]

_LEAST_LOG_VARIANCE = -20.0
_LARGEST_LOG_VARIANCE = 20.0


@final
@dataclass(frozen=True, slots=True)
class DiagonalNormal:
    """q(z|x) = N(mean, diag exp(log_variance)), one row per example.

    Attributes:
        mean: E_q[z|x].
        log_variance: ln Var_q[z|x].
    """

    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"]

    def sample(self, noise: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """A draw that is differentiable in the parameters, from standard normal `noise`."""
        return torch.addcmul(self.mean, torch.exp(0.5 * self.log_variance), noise)

    def kl_nats(self) -> Float[Tensor, "batch latent"]:
        """KL(q(z_j|x) ‖ N(0, 1)) of every latent: ``½ (mean² + variance - 1 - ln variance)``."""
        variance = torch.exp(self.log_variance)
        return 0.5 * (self.mean.square() + variance - 1.0 - self.log_variance)


def bounded_log_variance(raw: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
    """A network's output as a log-variance, bent smoothly into (-20, 20)."""
    return clamped(raw, _LEAST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)


def posterior_of(
    mean: Float[Tensor, "batch latent"], raw_log_variance: Float[Tensor, "batch latent"]
) -> DiagonalNormal:
    """The posterior with this mean and bounded log-variance."""
    return DiagonalNormal(mean, bounded_log_variance(raw_log_variance))
