"""What a KL weight in anybody's code means: beta, t, and the weight for the same model elsewhere.

A code base writes its loss as an error and a KL, each summed or averaged in its own way, and calls
the factor before the KL "beta" or "the KL weight". `convert` says what that factor is in nats, and
what it would have to be in every other way of writing the loss.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from vae_models.code_weight import CodeWeight
from vae_models.conversion_wording import sentences_of
from vae_models.errors import ConfigError
from vae_models.objective import (
    BATCH_REDUCTIONS,
    REDUCTIONS,
    beta_norm,
    canonical_beta,
    level,
    raw_weight_of,
    weights_of,
)

__all__ = ["Conversion", "convert", "weights_to_paste"]


@final
@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A KL weight in units that do not depend on how a code base writes its loss.

    Attributes:
        beta: Canonical beta: nats of KL against nats of NLL, both summed.
        t: The level beta sigma², in squared units of the original data: the loss has the optimum
            of ``SE/2 + t KL``. None where no variance is known in advance.
        beta_norm: beta M / N (Higgins et al. 2017, beta-VAE).
        weights: The raw weight that gives the same model in each reduction, with the same error
            term. Without a batch size those are left out that depend on it.
        sentences: What the loss is equivalent to, in words.
    """

    beta: float
    t: float | None
    beta_norm: float
    weights: Mapping[str, float]
    sentences: tuple[str, ...]

    def weight_in(self, reduction: str) -> float:
        """The raw weight that gives the same model in a reduction.

        Raises:
            ConfigError: The reduction is unknown, or needs a batch size and none was given.
        """
        if reduction not in REDUCTIONS:
            raise ConfigError.unknown("reduction", reduction, REDUCTIONS)
        if reduction not in self.weights:
            raise ConfigError.unmet(
                "batch >= 1", f"a weight in reduction {reduction!r}", batch=None
            )
        return self.weights[reduction]

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: ``beta, t, beta_norm, weights, equivalent`` (the sentences)."""
        return {
            "beta": self.beta,
            "t": self.t,
            "beta_norm": self.beta_norm,
            "weights": dict(self.weights),
            "equivalent": list(self.sentences),
        }


def convert(
    *,
    reduction: str,
    weight: float,
    pixels: int,
    latents: int,
    likelihood: str = "gaussian",
    sigma2: float | None = None,
    half: bool = False,
    data_scale: float = 1.0,
    batch: int | None = None,
) -> Conversion:
    """What a raw KL weight b amounts to.

    With a Gaussian decoder or a squared error, the error term is ``SE/(2 sigma²)`` if `sigma2` is
    given, else ``SE/2`` with `half` (which is sigma² = 1), else ``SE`` (sigma² = 1/2)::

        beta = b · (weight on the KL / weight on the NLL, at b = 1)       t = beta sigma² / a²

    Args:
        reduction: How both terms are reduced, one of `vae_models.objective.REDUCTIONS`.
        weight: b, the factor before the KL in that reduction.
        pixels: N = C·H·W.
        latents: M.
        likelihood: One of `vae_models.config.LIKELIHOODS`.
        sigma2: The variance by which the code divides its squared error, in squared units of the
            data that the model sees.
        half: Whether the code halves its squared error; means nothing beside `sigma2`.
        data_scale: a, where the model sees a·x instead of x (255 for pixels from 0 to 255).
        batch: B; needed for the reductions in which it is a part of the weight.

    Raises:
        ConfigError: An argument that no loss can have, or a result that no float can hold.
    """
    code = CodeWeight(
        reduction=reduction,
        weight=weight,
        pixels=pixels,
        latents=latents,
        likelihood=likelihood,
        sigma2=sigma2,
        half=half,
        data_scale=data_scale,
        batch=batch,
    )
    return _converted(code)


def _converted(code: CodeWeight) -> Conversion:
    sizes = {"pixels": code.pixels, "latents": code.latents}
    pair = weights_of(code.reduction, code.weight, batch=code.batch or 1, **sizes)
    beta = canonical_beta(pair)
    sigma2 = code.implied_sigma2
    t = None if sigma2 is None else level(beta, sigma2) / code.data_scale / code.data_scale
    norm = beta_norm(beta, **sizes)
    weights = weights_to_paste(beta, batch=code.batch, **sizes)
    _refuse_unrepresentable(code, [beta, norm, *weights.values(), *([] if t is None else [t])])
    sentences = sentences_of(code, beta=beta, t=t, beta_norm=norm)
    return Conversion(beta=beta, t=t, beta_norm=norm, weights=weights, sentences=sentences)


def _refuse_unrepresentable(code: CodeWeight, numbers: list[float]) -> None:
    """A weight that overflows, or that underflows to another loss, is none."""
    lost = any(not math.isfinite(number) for number in numbers)
    vanished = code.weight > 0 and not all(numbers)
    if lost or vanished:
        raise ConfigError.unmet(
            "beta, t and every weight are finite and not rounded to zero",
            "a conversion",
            weight=code.weight,
            sigma2=code.implied_sigma2,
            data_scale=code.data_scale,
        )


def weights_to_paste(
    beta: float, *, pixels: int, latents: int, batch: int | None = None
) -> dict[str, float]:
    """The raw KL weight that gives the canonical `beta` in every reduction.

    Args:
        beta: Nats of KL against nats of NLL, both summed.
        pixels: N = C·H·W.
        latents: M.
        batch: B; without it, the reductions that depend on it are left out.
    """
    modes = [mode for mode in REDUCTIONS if batch is not None or mode not in BATCH_REDUCTIONS]
    sizes = {"pixels": pixels, "latents": latents, "batch": 1 if batch is None else batch}
    return {mode: raw_weight_of(mode, beta, **sizes) for mode in modes}
