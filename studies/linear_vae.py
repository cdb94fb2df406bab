"""The linear β-VAE in closed form: the optimum that training it on given data can reach.

Rates are in nats per example, distortions are squared errors summed over the pixels. The level of
a VAE with a Gaussian decoder of variance σ² is t = βσ², in units of the data's spectrum; with
enough latents its point lies on Shannon's bound, at the water level t (`studies.rate_distortion`).

References:
    M. Tipping and C. Bishop 1999, "Probabilistic principal component analysis"; J. Lucas et al.
    2019, "Don't blame the ELBO!", https://arxiv.org/abs/1911.02469; A. Alemi et al. 2018, "Fixing
    a broken ELBO", https://arxiv.org/abs/1711.00464.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from studies.rate_distortion import (
    Array,
    RateDistortion,
    active_count,
    collapse_level,
    level_at_rate,
    require_latents,
    require_positive,
    spectrum_of,
    tail_sums,
    water_filling,
)


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
class LearnedVariance:
    """The decoder variance σ² that a linear β-VAE learns, and the level t = βσ² that it sets."""

    sigma2: float
    level: float
    active: int
    clamped: bool
    """True where the floor decided: the optimum lies below it, or at zero."""


def collapse_beta(spectrum: ArrayLike, sigma2: float | None) -> float:
    """Return the canonical β at which a linear VAE has collapsed: λ₁/σ², or λ₁/mean λ.

    The second is that of a learned σ², which is the variance per pixel once nothing is coded.

    Args:
        spectrum: Covariance eigenvalues of the data, one for each of the N pixels.
        sigma2: Fixed decoder variance; None if it is learned (or optimal in each batch).

    Raises:
        ValueError: If the variance is learned and the data are constant: there is none.
    """
    return beta_at_level(spectrum, collapse_level(spectrum), sigma2)


def death_betas(spectrum: ArrayLike, sigma2: float | None) -> Float[np.ndarray, " latent"]:
    """Return the canonical β at which each latent dies, that of the largest eigenvalue first.

    Latent i dies at the level t = λᵢ: at β = λᵢ/σ², or at β = Nλᵢ/(iλᵢ + Σ_{j>i} λⱼ) where σ² is
    learned. There is one for each eigenvalue above zero, and the first is `collapse_beta`. A model
    of M latents has the first M of them.

    Args:
        spectrum: Covariance eigenvalues of the data, one for each of the N pixels.
        sigma2: Fixed decoder variance; None if it is learned (or optimal in each batch).
    """
    values = spectrum_of(spectrum)
    alive = values[values > 0]
    if sigma2 is not None:
        return alive / require_positive("sigma2", sigma2)
    counts = np.arange(1, alive.size + 1)
    return values.size * alive / (counts * alive + tail_sums(alive)[1:])


def beta_at_level(
    spectrum: ArrayLike, level: float, sigma2: float | None, latents: int | None = None
) -> float:
    """Return the canonical β that sets a level: t/σ², or N t/D(t) where σ² is learned.

    A learned (or optimal) σ² is the error per pixel D/N, and D is known at each level.

    Args:
        spectrum: Covariance eigenvalues of the data, one for each of the N pixels.
        level: t, in units of the spectrum.
        sigma2: Fixed decoder variance; None if it is learned (or optimal in each batch).
        latents: M; without it, no limit.

    Raises:
        ValueError: If the level or the variance is not positive.
    """
    values = spectrum_of(spectrum)
    t = require_positive("level", level)
    if sigma2 is not None:
        return t / require_positive("sigma2", sigma2)
    return values.size * t / water_filling(values, t, latents).distortion_se


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
    t = require_positive("level", level)
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
    sigma2 = require_positive("sigma2", sigma2)
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
    t = require_positive("level", beta * sigma2)
    variances = np.full(values.size, require_positive("sigma2", sigma2))
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
    t = require_positive("level", level)
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
    t = require_positive("level", level)
    if require_latents(latents) >= active_count(values, t):
        return 0.0
    counts = np.arange(latents, values.size + 1)
    sums = latents * t + np.append(0.0, np.cumsum(values[latents:]))
    following = np.append(values[latents:], 0.0)  # λ_{K+1} for each K
    first = int(np.argmax(sums / counts >= following))
    K, mean = int(counts[first]), float(sums[first] / counts[first])
    logs = latents * math.log(t) + float(np.log(values[latents:K]).sum())
    return max(0.0, 0.5 * (K * math.log(mean) - logs))


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
    beta, N = require_positive("beta", beta), values.size
    limit = min(require_latents(latents), int(np.count_nonzero(values)))
    counts, tails = np.arange(1, limit + 1), tail_sums(values)
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


def _filled(values: Array, length: int, rest: float) -> Array:
    """Return the values, padded to a length."""
    return np.append(values, np.full(length - values.size, rest))
