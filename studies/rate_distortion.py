"""Exact rate–distortion curves of a Gaussian source, and of the linear β-VAE that is trained on it.

Rates are in nats per example, distortions are squared errors summed over the pixels. A *spectrum*
holds the eigenvalues of the data's covariance, a *level* is the water level θ of Shannon's bound,
which for a VAE with a Gaussian decoder of variance σ² is t = βσ².

References:
    C. Shannon 1959, "Coding theorems for a discrete source with a fidelity criterion";
    T. Cover and J. Thomas 2006, "Elements of Information Theory", section 10.3 (reverse
    water-filling); M. Tipping and C. Bishop 1999, "Probabilistic principal component analysis";
    J. Lucas et al. 2019, "Don't blame the ELBO!", https://arxiv.org/abs/1911.02469 (the linear
    VAE); A. Alemi et al. 2018, "Fixing a broken ELBO", https://arxiv.org/abs/1711.00464.
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
@dataclass(frozen=True, kw_only=True, eq=False)
class LinearVae:
    """The global optimum of a linear β-VAE; latents in the order of the eigenvalues they code.

    Latents beyond ``active`` are switched off: rate 0, gains 0, posterior variance 1.
    """

    level: float
    latents: int
    active: int
    rate_nats: float
    distortion_se: float
    mean_distortion_se: float
    """Squared error of decoding the posterior mean. It pairs with no rate: (R, D_mean) lies below
    Shannon's bound."""
    latent_rates_nats: Float[np.ndarray, " latent"]
    encoder_gains: Float[np.ndarray, " latent"]
    decoder_gains: Float[np.ndarray, " latent"]
    posterior_variances: Float[np.ndarray, " latent"]
    mean_variances: Float[np.ndarray, " latent"]
    """Variance over the data of the posterior mean, Cov_x E[z|x]: what active units are told by."""
    direction_distortions_se: Float[np.ndarray, " eigenvalue"]


@final
@dataclass(frozen=True, kw_only=True)
class RateDistortion:
    """One point of the plane: nats per example and squared error per example."""

    rate_nats: float
    distortion_se: float


@final
@dataclass(frozen=True, kw_only=True)
class LearnedVariance:
    """The decoder variance σ² that a linear β-VAE learns, and the level t = βσ² that it sets."""

    sigma2: float
    level: float
    active: int
    clamped: bool
    """True where the floor decided: the optimum lies below it, or at zero."""


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


def collapse_beta(spectrum: ArrayLike, sigma2: float) -> float:
    """Return the canonical β = λ₁/σ² at which a linear VAE has collapsed."""
    return collapse_level(spectrum) / _positive("sigma2", sigma2)


def active_count(spectrum: ArrayLike, level: float, latents: int | None = None) -> int:
    """Return k = min(M, #{i : λᵢ > t}), the number of latents in use; without latents, no limit."""
    above = int(np.count_nonzero(spectrum_of(spectrum) > level))
    return above if latents is None else min(above, _latents(latents))


# --- Shannon's bound ------------------------------------------------------------------------------


def water_filling(spectrum: ArrayLike, level: float, latents: int | None = None) -> RateDistortion:
    """Return the point at a water level: D = Σ min(λᵢ, θ), R = Σ ½ ln⁺(λᵢ/θ).

    With ``latents`` = M only the M largest eigenvalues are coded: the linear VAE's point, which
    leaves the bound where M latents are too few.
    """
    values = spectrum_of(spectrum)
    level = _positive("level", level)
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
    tails = _tails(positive)[1:]
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
    return _like(rate, K * levels + _tails(values)[K])


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
    limit = values.size if latents is None else min(_latents(latents), values.size)
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


# --- The linear β-VAE -----------------------------------------------------------------------------


def linear_vae(spectrum: ArrayLike, level: float, latents: int) -> LinearVae:
    """Return the global optimum of a linear β-VAE with M latents at the level t = βσ².

    With k = min(M, #{i : λᵢ > t}), for i ≤ k: wᵢ² = λᵢ − t, sᵢ = t/λᵢ, vᵢ = √(λᵢ−t)/λᵢ,
    Rᵢ = ½ ln(λᵢ/t), Dᵢ = t; the other directions have Rᵢ = 0, Dᵢ = λᵢ.

    Args:
        spectrum: Covariance eigenvalues of the data.
        level: t = βσ², in units of the spectrum.
        latents: M.
    """
    values = spectrum_of(spectrum)
    t = _positive("level", level)
    k = active_count(values, t, latents)
    coded, lost = values[:k], values[k:]
    rates = 0.5 * np.log(coded / t)
    return LinearVae(
        level=t,
        latents=latents,
        active=k,
        rate_nats=float(rates.sum()),
        distortion_se=k * t + float(lost.sum()),
        mean_distortion_se=float((t * t / coded).sum() + lost.sum()),
        latent_rates_nats=_filled(rates, latents, 0.0),
        encoder_gains=_filled(np.sqrt(coded - t) / coded, latents, 0.0),
        decoder_gains=_filled(np.sqrt(coded - t), latents, 0.0),
        posterior_variances=_filled(t / coded, latents, 1.0),
        mean_variances=_filled(1.0 - t / coded, latents, 0.0),
        direction_distortions_se=np.append(np.full(k, t), lost),
    )


def gaussian_nll(distortion_se: float, sigma2: float, pixels: int) -> float:
    """Return the distortion in nats of a Gaussian decoder: SE/(2σ²) + (N/2) ln 2πσ²."""
    sigma2 = _positive("sigma2", sigma2)
    return distortion_se / (2.0 * sigma2) + 0.5 * pixels * math.log(2.0 * math.pi * sigma2)


def linear_vae_objective(
    spectrum: ArrayLike, *, beta: float, sigma2: float, latents: int
) -> float:
    """Return the least value of E[−ln p(x|z)] + βK in nats: D_nll + βR at the optimum.

    L* = (N/2) ln 2πσ² + kβ/2 + Σ_{i>k} λᵢ/(2σ²) + (β/2) Σ_{i≤k} ln(λᵢ/t), t = βσ².
    """
    values = spectrum_of(spectrum)
    optimum = linear_vae(values, beta * sigma2, latents)
    nll = gaussian_nll(optimum.distortion_se, sigma2, values.size)
    return nll + beta * optimum.rate_nats


def linear_vae_nll(spectrum: ArrayLike, *, beta: float, sigma2: float, latents: int) -> float:
    """Return the exact −E ln p(x) in nats of the trained linear β-VAE.

    ½ Σ [ln 2πcᵢ + λᵢ/cᵢ] with cᵢ = λᵢ − t + σ² for i ≤ k, else σ².
    """
    values = spectrum_of(spectrum)
    t = _positive("level", beta * sigma2)
    variances = np.full(values.size, _positive("sigma2", sigma2))
    k = active_count(values, t, latents)
    variances[:k] += values[:k] - t
    return 0.5 * float((np.log(2.0 * np.pi * variances) + values / variances).sum())


def heldout_linear_vae(
    spectrum: ArrayLike, moments: ArrayLike, level: float, latents: int
) -> RateDistortion:
    """Return the expected (R, D) of the trained linear β-VAE on other data than it was trained on.

    R = ½ Σ_{i≤k} [(λᵢ−t)aᵢ/λᵢ² + t/λᵢ − 1 − ln(t/λᵢ)],
    D = Σ_{i≤k} [(t/λᵢ)² aᵢ + (λᵢ−t)t/λᵢ] + Σ_{i>k} aᵢ.

    Args:
        spectrum: Eigenvalues of the training data's covariance, descending.
        moments: aᵢ = uᵢᵀ E[(x−μ)(x−μ)ᵀ] uᵢ over the held-out data, with the training data's mean
            and eigenvectors, in the same order.
        level: t = βσ².
        latents: M.

    Raises:
        ValueError: If the spectrum is not descending, or the moments do not match it.
    """
    values, a = spectrum_of(spectrum), np.asarray(moments, dtype=np.float64)
    if not np.all(np.diff(np.asarray(spectrum, dtype=np.float64)) <= 0):
        raise ValueError(
            "The spectrum must descend, so that each held-out moment has its partner."
        )
    if a.shape != values.shape:
        raise ValueError(
            f"One held-out moment per eigenvalue must be given, but got {a.shape} moments for "
            f"{values.shape} eigenvalues."
        )
    t = _positive("level", level)
    k = active_count(values, t, latents)
    kept = t / values[:k]
    rates = 0.5 * ((1.0 - kept) * a[:k] / values[:k] + kept - 1.0 - np.log(kept))
    errors = kept**2 * a[:k] + (1.0 - kept) * t
    return RateDistortion(
        rate_nats=float(rates.sum()), distortion_se=float(errors.sum() + a[k:].sum())
    )


def shannon_gap(spectrum: ArrayLike, level: float, latents: int) -> float:
    """Return how many nats a linear β-VAE with M latents lies above Shannon's bound at its own D.

    Over the K numbers {t taken M times, λ_{M+1}, …, λ_K}: ΔR = (K/2) ln(AM/GM), with K such that
    λ_{K+1} ≤ AM ≤ λ_K. Zero where the latents suffice, M ≥ #{i : λᵢ > t}.
    """
    values = spectrum_of(spectrum)
    t = _positive("level", level)
    if _latents(latents) >= active_count(values, t):
        return 0.0
    counts = np.arange(latents, values.size + 1)
    sums = latents * t + np.append(0.0, np.cumsum(values[latents:]))
    following = np.append(values[latents:], 0.0)  # λ_{K+1} for each K
    first = int(np.argmax(sums / counts >= following))
    K, mean = int(counts[first]), float(sums[first] / counts[first])
    logs = latents * math.log(t) + float(np.log(values[latents:K]).sum())
    return max(0.0, 0.5 * (K * math.log(mean) - logs))


def rate_above_shannon(spectrum: ArrayLike, rate_nats: float, distortion_se: float) -> float:
    """Return R − R(D): the nats a point lies above the bound (on held-out data, with noise)."""
    return rate_nats - shannon_rate(spectrum, float(distortion_se))


def learned_variance(
    spectrum: ArrayLike, *, beta: float, latents: int, floor: float = 0.0
) -> LearnedVariance:
    """Return the decoder variance that a linear β-VAE with a learned σ² settles at.

    σ² = Σ_{i>k} λᵢ/(N − kβ) with t = βσ² and k = min(M, #{i : λᵢ > t}); β = 1 is probabilistic
    PCA. The optimal objective is convex in ln σ² with slope ½[N − kβ − Σ_{i>k} λᵢ/σ²], which is
    continuous where a latent dies, so latent k is in use exactly where that slope is positive at
    t = λ_k.

    Args:
        spectrum: Covariance eigenvalues of the data.
        beta: Canonical β.
        latents: M.
        floor: The least σ² that the model can take (its clamp).

    Raises:
        ValueError: If the optimum is at σ² = 0 (all directions coded, β ≤ 1) and there is no floor.
    """
    values = spectrum_of(spectrum)
    beta, N = _positive("beta", beta), values.size
    limit = min(_latents(latents), int(np.count_nonzero(values)))
    counts, tails = np.arange(1, limit + 1), _tails(values)
    slopes = N - beta * (counts + tails[1 : limit + 1] / values[:limit])
    k = int(np.count_nonzero(slopes > 0))
    shrinks = tails[limit] == 0.0 and beta * limit <= N  # at equality every small σ² is optimal
    optimum = 0.0 if shrinks else float(tails[k]) / (N - k * beta)
    if shrinks and floor <= 0.0:
        raise ValueError(
            "`0 < floor` must hold where the learned sigma2 shrinks to nothing (every direction "
            f"with variance is coded, at a low beta), but got floor={floor:g} with "
            f"latents={latents}, beta={beta:g}; give the least sigma2 that the model can take."
        )
    sigma2 = max(optimum, floor)
    return LearnedVariance(
        sigma2=sigma2,
        level=beta * sigma2,
        active=active_count(values, beta * sigma2, latents),
        clamped=optimum < floor,
    )


def capacity_linear_vae(
    spectrum: ArrayLike, *, gamma: float, capacity_nats: float, sigma2: float, latents: int
) -> LinearVae:
    """Return the optimum of the capacity objective E[−ln p(x|z)] + γ|K − C| for a linear VAE.

    R* = max(C, R(γσ²)): the penalty holds the rate at C unless γ is too weak to bring it down.
    See C. Burgess et al. 2018, https://arxiv.org/abs/1804.03599.
    """
    values = spectrum_of(spectrum)
    free = linear_vae(values, gamma * sigma2, latents)
    if free.rate_nats >= capacity_nats:
        return free
    return linear_vae(values, level_at_rate(values, float(capacity_nats), latents), latents)


# --- Shared pieces --------------------------------------------------------------------------------


def _levels_at_rates(values: Array, rates: Array, limit: int) -> tuple[NDArray[np.intp], Array]:
    """Return (K, θ) on the curve of the ``limit`` largest eigenvalues, for each rate."""
    coded = values[:limit][values[:limit] > 0]
    counts = np.arange(1, coded.size + 1)
    log_sums = np.cumsum(np.log(coded))
    ends = 0.5 * (log_sums - counts * np.log(coded))  # R at θ = λ_K, ascending in K
    K = np.clip(np.searchsorted(ends, rates, side="right"), 1, None)
    return K, np.exp((log_sums[K - 1] - 2.0 * rates) / K)


def _tails(values: Array) -> Array:
    """Return Σ_{i>k} λᵢ for k = 0 … N."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _filled(values: Array, length: int, rest: float) -> Array:
    """Return the values, padded to a length."""
    return np.append(values, np.full(length - values.size, rest))


def _like(wanted: float | Array, values: Array) -> float | Array:
    """Return an array for an array, and a float for a number."""
    return values if isinstance(wanted, np.ndarray) else float(values)


def _non_negative(name: str, value: float | Array) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(array >= 0):  # also refuses NaN
        raise ValueError(f"`{name} >= 0` must hold, but got {name}={np.min(array):g}.")
    return array


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"`0 < {name} < inf` must hold, but got {name}={value:g}.")
    return float(value)


def _latents(latents: int) -> int:
    if latents < 1:
        raise ValueError(f"`latents >= 1` must hold, but got latents={latents}.")
    return latents
