"""Normal priors: the standard one, one of another scale, and one that is learned.

For networks that are free to scale and shift their latents all three are the same model: see
`docs/priors.md` for the proof.
"""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.constants import hold_constant
from vae_models.errors import ConfigError
from vae_models.prior import Encode, Prior
from vae_models.prior_distributions import NormalPrior
from vae_models.soft_clamp import clamped

__all__ = ["LearnedNormalPrior", "ScaledNormalPrior", "StandardNormalPrior", "bounded_log_scale"]

_LARGEST_LOG_SCALE = 10.0
_LEAST_SCALE, _LARGEST_SCALE = 1e-6, 1e6


def bounded_log_scale(
    raw: Float[Tensor, "*component latent"],
) -> Float[Tensor, "*component latent"]:
    """A parameter as the logarithm of a standard deviation, bent smoothly into (-10, 10)."""
    return clamped(raw, -_LARGEST_LOG_SCALE, _LARGEST_LOG_SCALE)


@final
class StandardNormalPrior(Prior):
    """N(0, I)."""

    def forward(self, encode: Encode) -> NormalPrior:  # noqa: ARG002
        """N(0, I)."""
        return NormalPrior()


@final
class ScaledNormalPrior(Prior):
    """N(0, s² I) with a fixed s.

    Args:
        scale: s, the standard deviation of every latent.

    Raises:
        ConfigError: The scale is so extreme that single precision could not hold the rate.
    """

    _log_scale: Float[Tensor, ""]

    def __init__(self, scale: float) -> None:
        super().__init__()
        if not _LEAST_SCALE <= scale <= _LARGEST_SCALE:
            condition = f"{_LEAST_SCALE:g} <= prior_scale <= {_LARGEST_SCALE:g}"
            raise ConfigError.unmet(condition, "prior 'scaled'", prior_scale=scale)
        hold_constant(self, "_log_scale", math.log(scale))

    def forward(self, encode: Encode) -> NormalPrior:  # noqa: ARG002
        """N(0, s² I)."""
        return NormalPrior(log_scale=self._log_scale)


@final
class LearnedNormalPrior(Prior):
    """N(m, diag s²) with m and s learned; it starts as N(0, I).

    Args:
        latent_dim: M.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(latent_dim))
        self.raw_log_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, encode: Encode) -> NormalPrior:  # noqa: ARG002
        """N(m, diag s²), with ln s bent smoothly into (-10, 10)."""
        return NormalPrior(self.mean, bounded_log_scale(self.raw_log_scale))
