"""Distributions over the latents that a rate is measured against."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.posterior import Posterior

__all__ = ["NormalPrior", "PriorDistribution"]

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class PriorDistribution(ABC):
    """p(z), one distribution for all examples.

    Attributes:
        in_use: 1 for a latent of the trial, 0 for an idle one (see `vae_models.posterior`).
    """

    in_use: Float[Tensor, " latent"] | float

    @abstractmethod
    def using(self, in_use: Float[Tensor, " latent"]) -> "PriorDistribution":
        """The prior with all latents idle whose `in_use` is 0: N(0, 1)."""

    @property
    @abstractmethod
    def closed_form(self) -> bool:
        """Whether `kl_nats` is exact; else it is an unbiased estimate from the given draw."""

    @property
    @abstractmethod
    def scale(self) -> Float[Tensor, ""] | Float[Tensor, " latent"] | float:
        """The standard deviation of every latent, or one number for all."""

    @abstractmethod
    def log_prob(self, latents: Float[Tensor, "*draw latent"]) -> Float[Tensor, "*draw"]:
        """The log-density ln p(z) in nats."""

    @abstractmethod
    def marginal_log_prob(
        self, latents: Float[Tensor, "*draw latent"]
    ) -> Float[Tensor, "*draw latent"]:
        """The log-density ln p(z_j) of every latent, in nats."""

    @abstractmethod
    def sample(
        self, noise: Float[Tensor, "draw latent"], choice: Float[Tensor, " draw"]
    ) -> Float[Tensor, "draw latent"]:
        """Draws from p(z), from standard normal `noise` and a uniform `choice` in [0, 1)."""

    def kl_nats(
        self,
        posterior: Posterior,
        latents: Float[Tensor, "batch latent"],
        noise: Float[Tensor, "batch latent"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """KL(q(z|x) ‖ p(z)) of every example, summed over the latents, in nats.

        Args:
            posterior: q(z|x).
            latents: One draw from it per example; not looked at where there is a closed form.
            noise: What the draw was made of; without it, an ill-conditioned covariance makes the
                density of the draw, and so the estimate, meaningless.
        """
        if noise is None:
            return posterior.log_prob(latents) - self.log_prob(latents)
        return posterior.draw_log_prob(latents, noise) - self.log_prob(latents)

    def latent_kl_nats(
        self, posterior: Posterior, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch latent"]:
        """KL(q(z_j|x) ‖ p(z_j)) between the marginals of every latent, in nats.

        Their sum is the KL where both factorise over the latents: a diagonal posterior and a
        normal prior.
        """
        return posterior.marginal_log_prob(latents) - self.marginal_log_prob(latents)


@final
@dataclass(frozen=True, slots=True)
class NormalPrior(PriorDistribution):
    """p(z) = N(mean, diag exp(2 log_scale)).

    Attributes:
        mean: Of every latent, or one number for all.
        log_scale: ln of the standard deviation of every latent, or one number for all.
    """

    mean: Float[Tensor, " latent"] | float = 0.0
    log_scale: Float[Tensor, ""] | Float[Tensor, " latent"] | float = 0.0
    in_use: Float[Tensor, " latent"] | float = 1.0

    def using(self, in_use: Float[Tensor, " latent"]) -> "NormalPrior":
        """Mean and log-scale of an idle latent are zero."""
        return replace(
            self, mean=self.mean * in_use, log_scale=self.log_scale * in_use, in_use=in_use
        )

    @property
    def closed_form(self) -> bool:
        """True: both are normal."""
        return True

    @property
    def scale(self) -> Float[Tensor, ""] | Float[Tensor, " latent"] | float:
        """``exp(log_scale)``."""
        if isinstance(self.log_scale, Tensor):
            return torch.exp(self.log_scale)
        return math.exp(self.log_scale)

    def log_prob(self, latents: Float[Tensor, "*draw latent"]) -> Float[Tensor, "*draw"]:
        """The sum over the latents of `marginal_log_prob`."""
        return self.marginal_log_prob(latents).sum(-1)

    def marginal_log_prob(
        self, latents: Float[Tensor, "*draw latent"]
    ) -> Float[Tensor, "*draw latent"]:
        """``-½ ((z - mean) / scale)² - ln scale - ½ ln 2 pi``."""
        standard = (latents - self.mean) * self._precision_root
        return -0.5 * standard.square() - self.log_scale - self.in_use * _HALF_LOG_TAU

    def sample(
        self,
        noise: Float[Tensor, "draw latent"],
        choice: Float[Tensor, " draw"],  # noqa: ARG002 - there is one component
    ) -> Float[Tensor, "draw latent"]:
        """``mean + scale noise``."""
        return self.mean + noise / self._precision_root

    def kl_nats(
        self,
        posterior: Posterior,
        latents: Float[Tensor, "batch latent"],  # noqa: ARG002 - the closed form needs no draw
        noise: Float[Tensor, "batch latent"] | None = None,  # noqa: ARG002
    ) -> Float[Tensor, " batch"]:
        """``½ Σ_j [(variance_j + (mean_j - m_j)²)/s_j² + 2 ln s_j - 1] - ½ ln det Cov_q``."""
        return self._kl_without_volume(posterior).sum(-1) - 0.5 * posterior.log_determinant

    def latent_kl_nats(
        self,
        posterior: Posterior,
        latents: Float[Tensor, "batch latent"],  # noqa: ARG002 - the closed form needs no draw
    ) -> Float[Tensor, "batch latent"]:
        """``½ [(variance + (mean - m)²)/s² - 1 - ln(variance/s²)]`` of every latent."""
        variance = posterior.marginal_variance
        return self._kl_without_volume(posterior) - 0.5 * torch.log(variance)

    def _kl_without_volume(self, posterior: Posterior) -> Float[Tensor, "batch latent"]:
        spread = posterior.marginal_variance + (posterior.mean - self.mean).square()
        return 0.5 * (spread * self._precision_root**2 - 1.0) + self.log_scale

    @property
    def _precision_root(self) -> Float[Tensor, ""] | Float[Tensor, " latent"] | float:
        if isinstance(self.log_scale, Tensor):
            return torch.exp(-self.log_scale)
        return math.exp(-self.log_scale)
