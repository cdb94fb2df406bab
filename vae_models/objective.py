"""The two numbers behind every reduction: the weight on the NLL and the weight on the rate.

A training loss is ``mean over the batch of (nll * NLL + anneal * rate * KL)``, with the NLL summed
over the pixels and the KL summed over the latents, both in nats. What code bases call "sum",
"mean" and so on, together with their raw KL weight, is such a pair; only the quotient of the two
matters for the optimum, and that is the canonical beta.
"""

import math
from dataclasses import dataclass

from vae_models.errors import ConfigError

__all__ = [
    "BATCH_REDUCTIONS",
    "REDUCTIONS",
    "Weights",
    "beta_from_norm",
    "beta_norm",
    "canonical_beta",
    "level",
    "raw_weight_of",
    "weights_of",
]

REDUCTIONS = (
    "sum",
    "mean",
    "pixel_mean",
    "latent_mean",
    "batch_sum",
    "kl_batch_sum",
    "nll_batch_sum",
)

BATCH_REDUCTIONS = ("kl_batch_sum", "nll_batch_sum")
"""The reductions in which the canonical beta of a raw weight depends on the batch size."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of one example's NLL and KL (both in nats, both summed) in the training loss."""

    nll: float
    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "nll", float(self.nll))
        object.__setattr__(self, "rate", float(self.rate))
        if not (math.isfinite(self.nll) and self.nll > 0):
            raise ConfigError.unmet("0 < nll < inf", "the weight of the NLL", nll=self.nll)
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise ConfigError.unmet("0 <= rate < inf", "the weight of the KL", rate=self.rate)


def weights_of(
    reduction: str, raw_weight: float, *, pixels: int, latents: int, batch: int
) -> Weights:
    """The pair of weights that a reduction and a raw KL weight b stand for.

    ======================  =========  =========
    reduction               NLL        KL
    ======================  =========  =========
    ``sum``                 1          b
    ``mean``                1/N        b/M
    ``pixel_mean``          1/N        b
    ``latent_mean``         1          b/M
    ``batch_sum``           B          B b
    ``kl_batch_sum``        1/N        B b
    ``nll_batch_sum``       B          b
    ======================  =========  =========

    ``batch_sum`` is PyTorch's ``reduction="sum"`` on both terms: the batch is summed, not averaged.
    The last two are common mistakes, in which the batch size is a part of the KL's weight: an
    error with ``reduction="mean"`` beside a KL that is summed over the batch, and an error with
    ``reduction="sum"`` beside a KL that is averaged over it.

    Args:
        reduction: One of `REDUCTIONS`.
        raw_weight: b, the factor that stands before the KL in that reduction.
        pixels: N = C·H·W.
        latents: M.
        batch: B, the examples in a batch.

    Raises:
        ConfigError: The reduction is unknown, a size is below one or b is negative.
    """
    for name, size in (("pixels", pixels), ("latents", latents), ("batch", batch)):
        if size < 1:
            raise ConfigError.unmet(f"{name} >= 1", "a reduction", **{name: size})
    match reduction:
        case "sum":
            return Weights(nll=1.0, rate=raw_weight)
        case "mean":
            return Weights(nll=1.0 / pixels, rate=raw_weight / latents)
        case "pixel_mean":
            return Weights(nll=1.0 / pixels, rate=raw_weight)
        case "latent_mean":
            return Weights(nll=1.0, rate=raw_weight / latents)
        case "batch_sum":
            return Weights(nll=float(batch), rate=batch * raw_weight)
        case "kl_batch_sum":
            return Weights(nll=1.0 / pixels, rate=batch * raw_weight)
        case "nll_batch_sum":
            return Weights(nll=float(batch), rate=raw_weight)
    raise ConfigError.unknown("reduction", reduction, REDUCTIONS)


def canonical_beta(weights: Weights) -> float:
    """Canonical beta of a pair: the weight of the KL when the NLL weighs one."""
    return weights.rate / weights.nll


def raw_weight_of(reduction: str, beta: float, *, pixels: int, latents: int, batch: int) -> float:
    """The raw KL weight that gives the canonical `beta` in a reduction; inverts `weights_of`."""
    unit = weights_of(reduction, 1.0, pixels=pixels, latents=latents, batch=batch)
    return beta / canonical_beta(unit)


def beta_norm(beta: float, *, pixels: int, latents: int) -> float:
    """Normalised beta, ``beta M / N`` (Higgins et al. 2017, beta-VAE)."""
    return beta * latents / pixels


def beta_from_norm(norm: float, *, pixels: int, latents: int) -> float:
    """Canonical beta of a normalised one; inverts `beta_norm`."""
    return norm * pixels / latents


def level(beta: float, sigma2: float) -> float:
    """The level t = beta sigma² at which a Gaussian decoder trades rate against squared error."""
    return beta * sigma2
