"""Ranges of beta and of the latent dimension that cover the curve, as text and as TOML."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from studies.linear_vae import linear_vae
from sweeps.curve_guide import Case, cases_of, in_unit_of
from sweeps.settings import Fixed
from sweeps.spec import Spec

__all__ = ["Suggestions", "render", "suggestions_for"]

_SHOWN_EIGENVALUES = 8
_SMALLEST_CODE = 2
_GRID_POINTS = 8
_GRID_CODES = 4

_NO_RANGE = (
    "wae_mmd: no range of mmd_weight follows from the spectrum: its discrepancy is no rate in nats"
)


@final
@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """What the data's spectrum suggests for a spec.

    Attributes:
        data: Name of the data set.
        pixels: N.
        examples: Training examples.
        spectrum: Covariance eigenvalues, descending.
        latents: The latent dimension that the ranges are for; None for as many as are of use.
        unit: The unit in which the spec gives beta, and the lines do.
        cases: The likelihoods with a closed form.
        others: The likelihoods without one.
        remarks: On what the spec searches and the spectrum says nothing of.
        lines: Of TOML, to be pasted under [space].
    """

    data: str
    pixels: int
    examples: int
    spectrum: tuple[float, ...]
    latents: int | None
    unit: str
    cases: Sequence[Case]
    others: Sequence[str]
    remarks: Sequence[str]
    lines: Sequence[str]


def suggestions_for(
    spec: Spec, spectrum: Sequence[float], *, pixels: int, examples: int, rate_nats: float
) -> Suggestions:
    """What the data's spectrum suggests for a spec.

    Where the spec fixes the latent dimension the ranges are for that one, else for as many
    latents as are of use.

    Args:
        spec: A valid spec.
        spectrum: Covariance eigenvalues of the data, one for each pixel.
        pixels: N.
        examples: Training examples.
        rate_nats: The highest rate of interest, as the study's reference.
    """
    latent_dim = spec.settings["latent_dim"]
    latents = int(str(latent_dim.value)) if isinstance(latent_dim, Fixed) else None
    cases = cases_of(spec, spectrum, rate_nats=rate_nats, latents=latents)
    with_form = {case.likelihood for case in cases}
    return Suggestions(
        data=spec.data.name,
        pixels=pixels,
        examples=examples,
        spectrum=tuple(float(value) for value in spectrum),
        latents=latents,
        unit=_unit(spec),
        cases=cases,
        others=[name for name in spec.likelihoods if name not in with_form],
        remarks=[_NO_RANGE] if "mmd_weight" in spec.settings else [],
        lines=[
            *_lines(spec, spectrum, cases, latents, pixels, examples),
            *_capacity_lines(spec, rate_nats),
        ],
    )


def render(found: Suggestions) -> str:
    """The suggestions as text for people."""
    parts = [
        _about_data(found),
        *(_about_case(case, found.latents, found.unit) for case in found.cases),
    ]
    parts += [*(_about_other(name, found) for name in found.others), *found.remarks]
    if found.lines:
        parts.append("\n".join(("to paste:", "[space]", *found.lines)))
    return "\n\n".join(parts)


def _about_data(found: Suggestions) -> str:
    alive = sum(value > 0 for value in found.spectrum)
    first = "  ".join(f"{value:.3g}" for value in found.spectrum[:_SHOWN_EIGENVALUES])
    more = " …" if alive > _SHOWN_EIGENVALUES else ""
    return (
        f"{found.data}: {found.pixels} pixels, {found.examples} training examples\n"
        f"  variance      {sum(found.spectrum):.4g} in all\n"
        f"  eigenvalues   {first}{more}  ({alive} above zero)"
    )


def _about_case(case: Case, latents: int | None, unit: str) -> str:
    betas, beta = case.betas, "beta" if unit == "canonical" else "canonical beta"
    of = f"of {latents} latents" if latents else f"of {betas.latents} useful latents"
    rows = (
        (f"{betas.first_death:.4g}", f"the first {of} dies"),
        (f"{betas.collapse:.4g}", "all have collapsed: the KL is zero from here on"),
        (
            f"{betas.low:.4g} to {betas.high:.4g}",
            f"the whole curve: {betas.latents} latents at first",
        ),
    )
    width = max(len(numbers) for numbers, _ in rows)
    lines = (f"  {beta} = {numbers:<{width}}   {meaning}" for numbers, meaning in rows)
    return "\n".join((f"{case}: a linear VAE on these data", *lines))


def _about_other(likelihood: str, found: Suggestions) -> str:
    if found.spectrum and max(found.spectrum) <= 0:
        return f"{likelihood}: the data do not vary, so there is no curve"
    return (
        f"{likelihood}: no closed form says where latents die, and none is guessed;\n"
        "  train a few trials over beta = 0.01 to 100 and look at their R"
    )


def _lines(
    spec: Spec,
    spectrum: Sequence[float],
    cases: Sequence[Case],
    latents: int | None,
    pixels: int,
    examples: int,
) -> list[str]:
    if not cases:
        return []
    low, high = min(c.betas.low for c in cases), max(c.betas.high for c in cases)
    used = max(case.betas.latents for case in cases)
    lines = [_beta_line(spec, low, high, pixels, examples)] if "beta" in spec.settings else []
    if "target_se" in spec.settings:
        lines.append(_target_line(spec, spectrum, cases, used))
    if latents is None:
        lines.append(_latent_line(spec, used))
    return lines


def _grid(spec: Spec, points: int) -> str:
    """What a range needs more under the grid sampler, which refuses one without points."""
    return f", points = {points}" if spec.study.sampler == "grid" else ""


def _beta_line(spec: Spec, low: float, high: float, pixels: int, examples: int) -> str:
    unit = _unit(spec)
    least = in_unit_of(spec, low, pixels, examples)[0]
    greatest = in_unit_of(spec, high, pixels, examples)[1]
    tail = _grid(spec, _GRID_POINTS) + ("" if unit == "canonical" else f', unit = "{unit}"')
    return f"beta = {{ low = {_down(least)}, high = {_up(greatest)}, log = true{tail} }}"


def _target_line(
    spec: Spec, spectrum: Sequence[float], cases: Sequence[Case], latents: int
) -> str:
    """GECO's target: from the squared error at the highest rate of interest to that of none."""
    level = min(case.betas.low * case.sigma2 for case in cases if case.sigma2 is not None)
    least = linear_vae(spectrum, level, latents).distortion_se
    ends = f"low = {_up(least)}, high = {_down(sum(spectrum))}"
    return f"target_se = {{ {ends}, log = true{_grid(spec, _GRID_POINTS)} }}"


def _capacity_lines(spec: Spec, rate_nats: float) -> list[str]:
    """The capacity from no rate at all to the highest rate of interest."""
    if "capacity_nats" not in spec.settings or rate_nats <= 0:
        return []
    tail = _grid(spec, _GRID_POINTS)
    return [f"capacity_nats = {{ low = 0.0, high = {_up(rate_nats)}{tail} }}"]


def _unit(spec: Spec) -> str:
    return spec.settings["beta"].unit if "beta" in spec.settings else "canonical"


def _latent_line(spec: Spec, used: int) -> str:
    if used <= _SMALLEST_CODE:
        return f"latent_dim = [{', '.join(str(count) for count in range(1, used + 1))}]"
    tail = _grid(spec, _GRID_CODES)
    return f"latent_dim = {{ low = {_SMALLEST_CODE}, high = {used}, log = true{tail} }}"


def _down(number: float) -> float:
    """The number with two digits, not above it."""
    return _rounded(number, math.floor)


def _up(number: float) -> float:
    """The number with two digits, not below it."""
    return _rounded(number, math.ceil)


def _rounded(number: float, direction: Callable[[float], int]) -> float:
    digit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{direction(round(number / digit, 9)) * digit:.2g}")
