"""The exact rate–distortion curve of a Gaussian source: Shannon's bound, and the area under it.

Rates are in nats per example, distortions are squared errors summed over the pixels. A *spectrum*
holds the eigenvalues of the data's covariance, a *level* is the water level θ of the bound. What a
linear β-VAE reaches is in `studies.linear_vae`.

References:
    C. Shannon 1959, "Coding theorems for a discrete source with a fidelity criterion";
    T. Cover and J. Thomas 2006, "Elements of Information Theory", section 10.3 (reverse
    water-filling).
"""

import math
from dataclasses import dataclass
from typing import final, overload

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_ROUNDING = 1e-9
"""An eigenvalue below zero by less than this share of the largest one is a zero that was rounded."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Points of a rate–distortion curve, from the collapsed end (R = 0) to the highest rate.

    The slope at each point is dR/dD = −1/(2 level).
    """

    levels: Float[np.ndarray, " point"]
    rate_nats: Float[np.ndarray, " point"]
    distortion_se: Float[np.ndarray, " point"]


@final
@dataclass(frozen=True, kw_only=True)
class RateDistortion:
    """One point of the plane: nats per example and squared error per example."""

    rate_nats: float
    distortion_se: float


# --- The spectrum ---------------------------------------------------------------------------------


def spectrum_of(values: ArrayLike) -> Array:
    """Return the eigenvalues as float64 in descending order, with rounded zeros made exact.

    Raises:
        ValueError: If they are not a non-empty list of finite, non-negative numbers.
    """
    spectrum = np.array(values, dtype=np.float64)
    if spectrum.ndim != 1 or spectrum.size == 0:
        raise ValueError(
            f"A spectrum must be a non-empty list of eigenvalues, but got shape {spectrum.shape}."
        )
    if not np.isfinite(spectrum).all():
        raise ValueError("The eigenvalues of a spectrum must be finite, but got NaN or infinity.")
    if spectrum.min() < -_ROUNDING * max(spectrum.max(), 0.0):
        raise ValueError(
            f"`eigenvalue >= 0` must hold for a covariance, but got {spectrum.min():g}."
        )
    return np.sort(np.maximum(spectrum, 0.0))[::-1]


def collapse_level(spectrum: ArrayLike) -> float:
    """Return the level λ₁ at which the last latent dies: from here on R = 0."""
    return float(spectrum_of(spectrum)[0])


def active_count(spectrum: ArrayLike, level: float, latents: int | None = None) -> int:
    """Return k = min(M, #{i : λᵢ > t}), the number of latents in use; without latents, no limit."""
    above = int(np.count_nonzero(spectrum_of(spectrum) > level))
    return above if latents is None else min(above, require_latents(latents))


# --- Shannon's bound ------------------------------------------------------------------------------


def water_filling(spectrum: ArrayLike, level: float, latents: int | None = None) -> RateDistortion:
    """Return the point at a water level: D = Σ min(λᵢ, θ), R = Σ ½ ln⁺(λᵢ/θ).

    With ``latents`` = M only the M largest eigenvalues are coded: the linear VAE's point, which
    leaves the bound where M latents are too few.
    """
    values = spectrum_of(spectrum)
    level = require_positive("level", level)
    active = active_count(values, level, latents)
    return RateDistortion(
        rate_nats=0.5 * float(np.log(values[:active] / level).sum()),
        distortion_se=active * level + float(values[active:].sum()),
    )


@overload
def shannon_rate(spectrum: ArrayLike, distortion: float) -> float: ...
@overload
def shannon_rate(spectrum: ArrayLike, distortion: Array) -> Array: ...
def shannon_rate(spectrum: ArrayLike, distortion: float | Array) -> float | Array:
    """Return the smallest rate in nats that any code needs for a distortion, R(D).

    R = Σ_{i≤K} ½ ln(λᵢ/θ) with θ = (D − Σ_{i>K} λᵢ)/K and K = #{i : λᵢ > θ}; zero from the total
    variance on, infinite at D = 0 (unless the data are constant).

    Raises:
        ValueError: If a distortion is negative or NaN.
    """
    values = spectrum_of(spectrum)
    wanted = _non_negative("distortion", distortion)
    positive = values[values > 0]
    if positive.size == 0:
        return _like(distortion, np.zeros_like(wanted))
    counts = np.arange(1, positive.size + 1)
    tails = tail_sums(positive)[1:]
    ends = counts * positive + tails  # D at θ = λ_K, descending in K
    K = np.clip(np.searchsorted(-ends, -wanted, side="right"), 1, None)
    levels = np.minimum((wanted - tails[K - 1]) / K, positive[0])
    with np.errstate(divide="ignore"):
        rates = 0.5 * (np.cumsum(np.log(positive))[K - 1] - K * np.log(np.maximum(levels, 0.0)))
    return _like(distortion, np.where(wanted >= ends[0], 0.0, np.maximum(rates, 0.0)))


@overload
def shannon_distortion(spectrum: ArrayLike, rate: float) -> float: ...
@overload
def shannon_distortion(spectrum: ArrayLike, rate: Array) -> Array: ...
def shannon_distortion(spectrum: ArrayLike, rate: float | Array) -> float | Array:
    """Return the smallest squared error that any code reaches at a rate in nats, D(R).

    D = Kθ + Σ_{i>K} λᵢ with θ = exp[(Σ_{i≤K} ln λᵢ − 2R)/K] and K = #{i : λᵢ > θ}.

    Raises:
        ValueError: If a rate is negative or NaN.
    """
    values = spectrum_of(spectrum)
    wanted = _non_negative("rate", rate)
    if values[0] == 0.0:
        return _like(rate, np.zeros_like(wanted))
    K, levels = _levels_at_rates(values, wanted, values.size)
    return _like(rate, K * levels + tail_sums(values)[K])


def level_at_rate(spectrum: ArrayLike, rate: float, latents: int | None = None) -> float:
    """Return the level at which the curve (of M latents, if given) has a rate in nats.

    The collapsed end has many levels: at rate 0 the lowest of them, λ₁, is returned.

    Raises:
        ValueError: If the rate is negative or infinite, or the data are constant (no rate at all).
    """
    values = spectrum_of(spectrum)
    wanted = _non_negative("rate", rate)
    if not np.isfinite(wanted):
        raise ValueError("`rate < inf` must hold: no level above zero has an infinite rate.")
    if values[0] == 0.0:
        raise ValueError("Constant data have no rate, and no level: all eigenvalues are zero.")
    limit = values.size if latents is None else min(require_latents(latents), values.size)
    return float(_levels_at_rates(values, wanted, limit)[1])


def shannon_curve(
    spectrum: ArrayLike,
    *,
    max_rate_nats: float | None = None,
    points: int = 256,
    latents: int | None = None,
) -> Curve:
    """Return Shannon's bound as points to draw, evenly spaced in ln θ from λ₁ downwards.

    Args:
        spectrum: Covariance eigenvalues of the data.
        max_rate_nats: Where to end; default: where 1% of the variance is left.
        points: How many points, at least 2.
        latents: Draw the curve of a linear VAE with so many latents (PCA) instead of the bound.

    Raises:
        ValueError: If ``points < 2``, a rate is negative or infinite, or the data are constant.
    """
    values = spectrum_of(spectrum)
    if points < 2:
        raise ValueError(f"`points >= 2` must hold for a curve, but got points={points}.")
    if max_rate_nats is None:
        max_rate_nats = shannon_rate(values, 0.01 * float(values.sum()))
    lowest = level_at_rate(values, max_rate_nats, latents)
    levels = np.geomspace(values[0], lowest, points)
    on_curve = [water_filling(values, float(level), latents) for level in levels]
    return Curve(
        levels=levels,
        rate_nats=np.array([point.rate_nats for point in on_curve]),
        distortion_se=np.array([point.distortion_se for point in on_curve]),
    )


def area_under_curve(
    spectrum: ArrayLike, *, lower_level: float = 0.0, upper_level: float = math.inf
) -> float:
    """Return ∫ R dD along Shannon's bound between two levels; by default under all of it.

    Between two eigenvalues dD = k dt, so the area is [(k/2) Σ_{i≤k} (t ln(λᵢ/t) + t)] there.
    """
    values = spectrum_of(spectrum)
    positive = values[values > 0]
    counts = np.arange(1, positive.size + 1)
    log_sums = np.cumsum(np.log(positive))
    tops = np.clip(positive, lower_level, upper_level)
    bottoms = np.clip(np.append(positive[1:], 0.0), lower_level, upper_level)

    def antiderivative(t: Array) -> Array:
        log_t = np.log(np.where(t > 0, t, 1.0))
        return 0.5 * counts * t * (log_sums + counts * (1.0 - log_t))

    return float((antiderivative(tops) - antiderivative(bottoms)).sum())


def shannon_hypervolume(
    spectrum: ArrayLike, *, rate_reference: float, distortion_reference: float
) -> float:
    """Return the hypervolume of Shannon's bound itself: no finite front has more.

    It is the area ∫ (R_ref − R(D)) dD of what the bound dominates inside the reference point, from
    D(R_ref) to D_ref.
    """
    values = spectrum_of(spectrum)
    start = shannon_distortion(values, float(rate_reference))
    total = float(values.sum())
    if start >= distortion_reference:
        return 0.0
    box = rate_reference * (distortion_reference - start)
    if total == 0.0:
        return box
    lower = level_at_rate(values, float(rate_reference))
    upper = math.inf
    if distortion_reference < total:
        upper = level_at_rate(values, shannon_rate(values, float(distortion_reference)))
    return box - area_under_curve(values, lower_level=lower, upper_level=upper)


def rate_above_shannon(spectrum: ArrayLike, rate_nats: float, distortion_se: float) -> float:
    """Return R − R(D): the nats a point lies above the bound (on held-out data, with noise)."""
    return rate_nats - shannon_rate(spectrum, float(distortion_se))


# --- Shared pieces --------------------------------------------------------------------------------


def _levels_at_rates(values: Array, rates: Array, limit: int) -> tuple[NDArray[np.intp], Array]:
    """Return (K, θ) on the curve of the ``limit`` largest eigenvalues, for each rate."""
    coded = values[:limit][values[:limit] > 0]
    counts = np.arange(1, coded.size + 1)
    log_sums = np.cumsum(np.log(coded))
    ends = 0.5 * (log_sums - counts * np.log(coded))  # R at θ = λ_K, ascending in K
    K = np.clip(np.searchsorted(ends, rates, side="right"), 1, None)
    return K, np.exp((log_sums[K - 1] - 2.0 * rates) / K)


def tail_sums(values: Array) -> Array:
    """Return Σ_{i>k} λᵢ for k = 0 … N."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _like(wanted: float | Array, values: Array) -> float | Array:
    """Return an array for an array, and a float for a number."""
    return values if isinstance(wanted, np.ndarray) else float(values)


def _non_negative(name: str, value: float | Array) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(array >= 0):  # also refuses NaN
        raise ValueError(f"`{name} >= 0` must hold, but got {name}={np.min(array):g}.")
    return array


def require_positive(name: str, value: float) -> float:
    """Return the value, or raise `ValueError` unless `0 < value < inf` holds."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"`0 < {name} < inf` must hold, but got {name}={value:g}.")
    return float(value)


def require_latents(latents: int) -> int:
    """Return the number of latents, or raise `ValueError` unless there is at least one."""
    if latents < 1:
        raise ValueError(f"`latents >= 1` must hold, but got latents={latents}.")
    return latents
