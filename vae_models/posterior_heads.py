"""How an encoder's raw numbers become a posterior: with a diagonal or a full covariance."""

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.config import ModelConfig
from vae_models.posterior import DiagonalNormal, FullNormal, Posterior, bounded_log_variance

__all__ = ["DiagonalHead", "FullHead", "PosteriorHead", "head_of"]


class PosteriorHead(nn.Module, ABC):
    """A module without parameters, from an encoder's last layer to the posterior.

    Args:
        latent_dim: M.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    @property
    @abstractmethod
    def covariance_outputs(self) -> int:
        """How many numbers the covariance of one posterior needs."""

    @property
    def outputs(self) -> int:
        """How many numbers one posterior needs: M for the mean, then those of the covariance."""
        return self.latent_dim + self.covariance_outputs

    @abstractmethod
    def forward(self, raw: Float[Tensor, "batch output"]) -> Posterior:
        """The posterior that `outputs` unbounded numbers per example stand for."""


@final
class DiagonalHead(PosteriorHead):
    """M means, then M log-variances, bent smoothly into bounds."""

    @property
    def covariance_outputs(self) -> int:
        """M log-variances."""
        return self.latent_dim

    def forward(self, raw: Float[Tensor, "batch output"]) -> DiagonalNormal:
        """N(mean, diag exp(log_variance))."""
        mean, raw_log_variance = raw.chunk(2, dim=1)
        return DiagonalNormal(mean, bounded_log_variance(raw_log_variance))


@final
class FullHead(PosteriorHead):
    """M means, M log-variances, then the M (M - 1) / 2 entries of a strictly lower triangle N.

    The covariance is L Lᵀ with ``L = diag(s) (I + N)`` and ``s² = exp(log_variance)``. Every
    covariance matrix has one such (s, N), and N = 0 is the diagonal head. N stands in units of s,
    so that L stays as well conditioned where the posterior gets narrow as where it starts.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self._places: Tensor
        self.register_buffer("_places", _places_in_triangle(latent_dim), persistent=False)

    @property
    def covariance_outputs(self) -> int:
        """M log-variances and M (M - 1) / 2 entries below the diagonal."""
        return self.latent_dim * (self.latent_dim + 1) // 2

    def forward(self, raw: Float[Tensor, "batch output"]) -> FullNormal:
        """N(mean, L Lᵀ)."""
        latents = self.latent_dim
        mean, raw_log_variance, below = raw.tensor_split([latents, 2 * latents], dim=1)
        scales = torch.exp(0.5 * bounded_log_variance(raw_log_variance))
        return FullNormal(mean, scales.unsqueeze(-1) * self._unit_triangle(below))

    def _unit_triangle(
        self, below: Float[Tensor, "batch entry"]
    ) -> Float[Tensor, "batch latent latent"]:
        """I + N, read from the entries, one zero and one one."""
        zero, one = below.new_zeros(len(below), 1), below.new_ones(len(below), 1)
        return torch.cat([below, zero, one], dim=1)[:, self._places]


def _places_in_triangle(size: int) -> Tensor:
    """Where each entry of a unit triangle stands in (entries below the diagonal, 0, 1)."""
    entries = size * (size - 1) // 2
    places = torch.full((size, size), entries)
    places.fill_diagonal_(entries + 1)
    rows, columns = torch.tril_indices(size, size, offset=-1)
    places[rows, columns] = torch.arange(entries)
    return places


def head_of(config: ModelConfig) -> PosteriorHead:
    """The head that a model's settings name."""
    match config.posterior:
        case "diagonal":
            return DiagonalHead(config.latent_dim)
        case "full":
            return FullHead(config.latent_dim)
    raise AssertionError(f"unreachable: {config.posterior!r} passed validation")
