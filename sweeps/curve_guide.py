"""What the data's spectrum says of a spec before anything is trained: where the curve lies.

The closed form is that of a linear VAE (`studies.beta_range`). A deeper one uses its latents
better, but its KL vanishes near the same beta: this answers "the KL drops to zero at once".
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from numpy.typing import ArrayLike

from studies.beta_range import BetaRange, suggest_range
from studies.rate_distortion import collapse_level
from sweeps.setting_checks import key_of
from sweeps.settings import Fixed, Range, Setting
from sweeps.space import batch_in_force
from sweeps.spec import Spec
from vae_models.likelihood_kinds import MSE_SIGMA2
from vae_models.objective import (
    beta_from_norm,
    beta_norm,
    canonical_beta,
    raw_weight_of,
    weights_of,
)

__all__ = ["Case", "Span", "cases_of", "guided", "in_unit_of", "range_notes"]

Span = tuple[float, float]

_LEARNED = ("gaussian_learned", "gaussian_optimal")
_COLLAPSING = ("kl", "tcvae")
"""Regularisers under which a latent dies where it does in the closed form."""


@final
@dataclass(frozen=True, kw_only=True)
class Case:
    """A likelihood with a closed form.

    Attributes:
        likelihood: Its name.
        sigma2: The decoder's variance; None where it is learned.
        betas: Canonical beta over which the curve lies.
    """

    likelihood: str
    sigma2: float | None
    betas: BetaRange

    def __str__(self) -> str:
        if self.sigma2 is None:
            return self.likelihood
        return f"{self.likelihood}, sigma2 = {self.sigma2:g}"


def cases_of(
    spec: Spec, spectrum: ArrayLike, *, rate_nats: float, latents: int | None
) -> list[Case]:
    """The likelihoods of a spec that have a closed form, with the range of beta for each.

    Args:
        spec: The spec; of a range of sigma2 both ends are taken.
        spectrum: Covariance eigenvalues of the data, one for each pixel.
        rate_nats: The highest rate of interest.
        latents: The largest latent dimension; None for as many as are of use.

    Returns:
        None of them for data that do not vary.
    """
    if rate_nats <= 0 or collapse_level(spectrum) <= 0:
        return []
    found = []
    for likelihood, sigma2 in _variances(spec):
        betas = suggest_range(spectrum, sigma2=sigma2, rate_nats=rate_nats, latents=latents)
        found.append(Case(likelihood=likelihood, sigma2=sigma2, betas=betas))
    return found


def guided(spec: Spec) -> bool:
    """Whether some trial of a spec has a loss whose KL vanishes where the closed form says."""
    return any(name in _COLLAPSING for name in spec.settings["regulariser"].bounds)


def range_notes(
    spec: Spec,
    spectrum: ArrayLike,
    *,
    pixels: int,
    rate_nats: float,
    examples: int | None = None,
) -> Iterator[str]:
    """A sentence where beta lies wholly beyond the collapse, or wholly below the curve.

    Args:
        spec: A valid spec.
        spectrum: Covariance eigenvalues of the data, one for each pixel.
        pixels: N.
        rate_nats: The highest rate of interest, as the study's reference.
        examples: Size of the training split, which no batch exceeds; None if it is not known.
    """
    if not guided(spec):
        return
    cases = cases_of(spec, spectrum, rate_nats=rate_nats, latents=_largest_latent_dim(spec))
    sizes = _sizes(spec, examples)
    spans = {part: _canonical_span(spec, part, pixels, sizes) for part in _parts(spec)}
    yield from _collapsed(spec, {part: low for part, (low, _) in spans.items()}, cases)
    highest = max(high for _, high in spans.values())
    if cases and not isinstance(spec.settings["beta"], Fixed):
        yield from _below(highest, min((case.betas for case in cases), key=lambda b: b.low))


def in_unit_of(spec: Spec, beta: float, pixels: int, examples: int | None = None) -> Span:
    """The least and the greatest number that means a canonical beta in the unit of a spec."""
    if spec.settings["beta"].unit == "canonical":
        return beta, beta
    numbers = [
        beta_norm(beta, pixels=pixels, latents=latents)
        if spec.settings["beta"].unit == "beta_norm"
        else raw_weight_of(reduction, beta, pixels=pixels, latents=latents, batch=batch)
        for reduction in _parts(spec)
        for latents, batch in _sizes(spec, examples)
    ]
    return min(numbers), max(numbers)


def _variances(spec: Spec) -> Iterator[tuple[str, float | None]]:
    for likelihood in spec.likelihoods:
        if likelihood == "gaussian":
            yield from ((likelihood, sigma2) for sigma2 in spec.sigma2s)
        elif likelihood == "mse":
            yield likelihood, MSE_SIGMA2
        elif likelihood in _LEARNED:
            yield likelihood, None


def _parts(spec: Spec) -> Sequence[str]:
    """The reductions that beta's meaning depends on: all for raw weights, else any one."""
    names = [str(name) for name in spec.settings["reduction"].bounds]
    return names if spec.settings["beta"].unit == "raw" else names[:1]


def _sizes(spec: Spec, examples: int | None = None) -> list[tuple[int, int]]:
    """The latent dimensions and batch sizes at the corners of a spec."""
    bounds = (spec.settings[name].bounds for name in ("latent_dim", "batch_size"))
    corners = (
        (int(str(latents)), int(str(batch))) for latents, batch in itertools.product(*bounds)
    )
    return [(latents, batch_in_force(batch, examples)) for latents, batch in corners]


def _largest_latent_dim(spec: Spec) -> int:
    return max(latents for latents, _ in _sizes(spec))


def _canonical_span(
    spec: Spec, reduction: str, pixels: int, sizes: Sequence[tuple[int, int]]
) -> Span:
    setting = spec.settings["beta"]
    numbers = [float(str(value)) for value in setting.bounds]
    if setting.unit == "raw":
        canonical = [
            canonical_beta(
                weights_of(reduction, number, pixels=pixels, latents=latents, batch=batch)
            )
            for number in numbers
            for latents, batch in sizes
        ]
    elif setting.unit == "beta_norm":
        canonical = [
            beta_from_norm(number, pixels=pixels, latents=latents)
            for number in numbers
            for latents, _ in sizes
        ]
    else:
        canonical = numbers
    return min(canonical), max(canonical)


def _collapsed(spec: Spec, lows: Mapping[str, float], cases: Sequence[Case]) -> Iterator[str]:
    """One sentence for all reductions (with the least beta of each) that lie beyond the collapse."""
    if isinstance(spec.settings.get("sigma2"), Range):
        cases = sorted(cases, key=lambda case: case.betas.collapse)[-1:]
    dead = {
        part: [case for case in cases if low >= case.betas.collapse] for part, low in lows.items()
    }
    limits = {
        f"{case.betas.collapse:.3g} ({case})": None for part in dead.values() for case in part
    }
    if limits:
        beta = spec.settings["beta"]
        yield (
            f"{key_of('beta', beta)}: {_beginnings(beta, lows, [p for p in dead if dead[p]])}, but "
            f"the KL of a linear VAE on these data is zero from beta = {', '.join(limits)} on: "
            "such trials collapse; `rdsweep suggest` gives a range that covers the curve."
        )


def _beginnings(beta: Setting, lows: Mapping[str, float], parts: Sequence[str]) -> str:
    verb = "is" if isinstance(beta, Fixed) else "starts at"
    if beta.unit != "raw":
        return (
            f"{'' if beta.unit == 'canonical' else 'canonical '}beta {verb} {lows[parts[0]]:.3g}"
        )
    each = ", ".join(f"{lows[part]:.3g} in reduction {part!r}" for part in parts)
    return f"canonical beta {verb} {each}"


def _below(highest: float, betas: BetaRange) -> Iterator[str]:
    if highest <= betas.low:
        yield (
            f"space.beta: canonical beta ends at {highest:.3g}, below all of the curve that the "
            f"data's spectrum gives (beta = {betas.low:.3g} to {betas.high:.3g}): no latent will "
            "be given up for rate. `rdsweep suggest` gives a range that covers it."
        )
