"""What an encoder returns: a normal distribution over the latents, one per example."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.soft_clamp import clamped

__all__ = ["DiagonalNormal", "FullNormal", "Posterior", "bounded_log_variance"]

_LEAST_LOG_VARIANCE = -20.0
_LARGEST_LOG_VARIANCE = 20.0
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Posterior(ABC):
    """q(z|x), a normal distribution for every example of a batch.

    In a pack, trials of fewer latents are filled up with idle ones: such a latent is N(0, 1) under
    the posterior and the prior, its noise is zero, and so is all that it adds to any term.

    Attributes:
        mean: E_q[z|x].
        in_use: 1 for a latent of the trial, 0 for an idle one; one number for all.
    """

    mean: Float[Tensor, "batch latent"]
    in_use: Float[Tensor, " latent"] | float

    @property
    def latents(self) -> Float[Tensor, ""] | int:
        """M, the idle latents left out."""
        return self.in_use.sum() if isinstance(self.in_use, Tensor) else self.mean.shape[-1]

    @abstractmethod
    def using(self, in_use: Float[Tensor, " latent"]) -> "Posterior":
        """The posterior with all latents idle whose `in_use` is 0."""

    @property
    @abstractmethod
    def marginal_variance(self) -> Float[Tensor, "batch latent"]:
        """Var_q[z_j|x]."""

    @property
    @abstractmethod
    def log_determinant(self) -> Float[Tensor, " batch"]:
        """The logarithm of det Cov_q[z|x]."""

    @abstractmethod
    def sample(
        self, noise: Float[Tensor, "*draw batch latent"]
    ) -> Float[Tensor, "*draw batch latent"]:
        """A draw that is differentiable in the parameters, from standard normal `noise`."""

    @abstractmethod
    def log_prob(
        self, latents: Float[Tensor, "*draw #batch latent"]
    ) -> Float[Tensor, "*draw batch"]:
        """The log-density ln q(z|x) in nats.

        ``[draw, 1, latent]`` gives every draw under every example.
        """

    @abstractmethod
    def draw_log_prob(
        self,
        latents: Float[Tensor, "*draw batch latent"],
        noise: Float[Tensor, "*draw batch latent"],
    ) -> Float[Tensor, "*draw batch"]:
        """`log_prob` of the draws that `sample` made of `noise`."""

    def marginal_log_prob(
        self, latents: Float[Tensor, "*draw #batch latent"]
    ) -> Float[Tensor, "*draw batch latent"]:
        """The log-density ln q(z_j|x) of every latent in nats; broadcasts as `log_prob` does."""
        variance = self.marginal_variance
        error = (latents - self.mean).square() / variance
        return -0.5 * (error + variance.log()) - self.in_use * _HALF_LOG_TAU


@final
@dataclass(frozen=True, slots=True)
class DiagonalNormal(Posterior):
    """q(z|x) = N(mean, diag exp(log_variance)), one row per example.

    Attributes:
        mean: E_q[z|x].
        log_variance: ln Var_q[z|x].
    """

    mean: Float[Tensor, "batch latent"]
    log_variance: Float[Tensor, "batch latent"]
    in_use: Float[Tensor, " latent"] | float = 1.0

    def using(self, in_use: Float[Tensor, " latent"]) -> "DiagonalNormal":
        """Mean and log-variance of an idle latent are zero."""
        return replace(
            self, mean=self.mean * in_use, log_variance=self.log_variance * in_use, in_use=in_use
        )

    @property
    def marginal_variance(self) -> Float[Tensor, "batch latent"]:
        """``exp(log_variance)``."""
        return torch.exp(self.log_variance)

    @property
    def log_determinant(self) -> Float[Tensor, " batch"]:
        """The sum of the log-variances."""
        return self.log_variance.sum(-1)

    def sample(
        self, noise: Float[Tensor, "*draw batch latent"]
    ) -> Float[Tensor, "*draw batch latent"]:
        """``mean + exp(log_variance / 2) noise``."""
        return torch.addcmul(self.mean, torch.exp(0.5 * self.log_variance), noise)

    def log_prob(
        self, latents: Float[Tensor, "*draw #batch latent"]
    ) -> Float[Tensor, "*draw batch"]:
        """The sum over the latents of `marginal_log_prob`."""
        return self.marginal_log_prob(latents).sum(-1)

    def draw_log_prob(
        self,
        latents: Float[Tensor, "*draw batch latent"],
        noise: Float[Tensor, "*draw batch latent"],  # noqa: ARG002 - the draws tell it themselves
    ) -> Float[Tensor, "*draw batch"]:
        """`log_prob` itself."""
        return self.log_prob(latents)


@final
@dataclass(frozen=True, slots=True)
class FullNormal(Posterior):
    """q(z|x) = N(mean, L Lᵀ), one row per example.

    Reference: D. P. Kingma, M. Welling (2019), https://arxiv.org/abs/1906.02691, section 2.5.1.

    Attributes:
        mean: E_q[z|x].
        scale_tril: L, lower triangular with a positive diagonal.
    """

    mean: Float[Tensor, "batch latent"]
    scale_tril: Float[Tensor, "batch latent latent"]
    in_use: Float[Tensor, " latent"] | float = 1.0

    def using(self, in_use: Float[Tensor, " latent"]) -> "FullNormal":
        """Row and column of an idle latent are those of the unit matrix."""
        block = in_use.unsqueeze(-1) * in_use
        scale_tril = self.scale_tril * block + torch.diag_embed(1 - in_use)
        return replace(self, mean=self.mean * in_use, scale_tril=scale_tril, in_use=in_use)

    @property
    def marginal_variance(self) -> Float[Tensor, "batch latent"]:
        """The diagonal of ``L Lᵀ``."""
        return self.scale_tril.square().sum(-1)

    @property
    def log_determinant(self) -> Float[Tensor, " batch"]:
        """``2 Σ_j ln L_jj``."""
        return 2 * self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def sample(
        self, noise: Float[Tensor, "*draw batch latent"]
    ) -> Float[Tensor, "*draw batch latent"]:
        """``mean + L noise``."""
        return self.mean + torch.einsum("bij,...bj->...bi", self.scale_tril, noise)

    def log_prob(
        self, latents: Float[Tensor, "*draw #batch latent"]
    ) -> Float[Tensor, "*draw batch"]:
        """``-½ ‖L⁻¹ (z - mean)‖² - ½ ln det Cov - (M/2) ln 2 pi``."""
        distance = self._squared_distance(latents - self.mean)
        return -0.5 * (distance + self.log_determinant) - self.latents * _HALF_LOG_TAU

    def draw_log_prob(
        self,
        latents: Float[Tensor, "*draw batch latent"],  # noqa: ARG002
        noise: Float[Tensor, "*draw batch latent"],
    ) -> Float[Tensor, "*draw batch"]:
        """``-½ (‖noise‖² + ln det Cov) - (M/2) ln 2 pi``.

        L⁻¹ would blow the rounding of z up by L's condition number, which has no bound.
        """
        distance = noise.square().sum(-1)
        return -0.5 * (distance + self.log_determinant) - self.latents * _HALF_LOG_TAU

    def _squared_distance(
        self, errors: Float[Tensor, "*draw batch latent"]
    ) -> Float[Tensor, "*draw batch"]:
        """``‖L⁻¹ error‖²``; every L is solved once, with all draws as its right-hand sides."""
        draws = errors.reshape(-1, *self.mean.shape).permute(1, 2, 0)
        standard = torch.linalg.solve_triangular(self.scale_tril, draws, upper=False)
        squared: Tensor = standard.square().sum(1)
        return squared.T.reshape(errors.shape[:-1])


def bounded_log_variance(raw: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
    """A network's output as a log-variance, bent smoothly into (-20, 20)."""
    return clamped(raw, _LEAST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
