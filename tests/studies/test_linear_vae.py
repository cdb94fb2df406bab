"""The linear β-VAE's closed forms against the golden table, minimisation and simulation."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import multivariate_normal

from spectra import GOLDEN, LATENTS, LEVELS, SPECTRA, SPECTRA_WITH_ZEROS
from studies.linear_vae import (
    beta_at_level,
    capacity_linear_vae,
    collapse_beta,
    death_betas,
    gaussian_nll,
    heldout_linear_vae,
    learned_variance,
    linear_vae,
    linear_vae_nll,
    linear_vae_objective,
    shannon_gap,
)
from studies.rate_distortion import (
    active_count,
    collapse_level,
    rate_above_shannon,
    spectrum_of,
)

Array = NDArray[np.float64]

# (beta, sigma2, latents, active, R, D, D_mean, gap to Shannon), computed independently of this code
GOLDEN_ROWS = [
    (1, 0.1, 8, 7, 8.631948, 0.75, 0.15230, 0),
    (4, 0.25, 8, 4, 1.888445, 5.5, 3.25792, 0),
    (10, 0.3, 8, 2, 0.287682, 10.9, 9.51250, 0),
    (1, 0.1, 3, 3, 5.211141, 3.1, 2.80989, 1.599344),
    (1, 1, 3, 3, 1.757263, 5.8, 3.78869, 0.013459),
]


def objective_of(
    spectrum: Array, gain: Array, weight: Array, variance: Array, beta: float, sigma2: float
) -> float:
    """E[−ln p(x|z)] + βK of x = u, z = v·x + √s·ε, decoded as w·z, direction by direction."""
    se = ((1 - weight * gain) ** 2 * spectrum + weight**2 * variance).sum()
    rate = 0.5 * (gain**2 * spectrum + variance - 1 - np.log(variance)).sum()
    nll = se / (2 * sigma2) + 0.5 * spectrum.size * math.log(2 * math.pi * sigma2)
    return float(nll + beta * rate)


@pytest.mark.parametrize(("beta", "sigma2", "M", "k", "R", "D", "D_mean", "gap"), GOLDEN_ROWS)
def test_the_golden_table_is_met_to_its_last_digit(
    beta: float, sigma2: float, M: int, k: int, R: float, D: float, D_mean: float, gap: float
) -> None:
    vae = linear_vae(GOLDEN, beta * sigma2, M)
    assert vae.active == k
    assert round(vae.rate_nats, 6) == R
    assert_allclose(vae.distortion_se, D, rtol=1e-12)
    assert round(vae.mean_distortion_se, 5) == D_mean
    assert round(shannon_gap(GOLDEN, beta * sigma2, M), 6) == gap


def test_the_order_of_the_eigenvalues_does_not_matter() -> None:
    assert linear_vae(GOLDEN[::-1], 0.3, 3).rate_nats == linear_vae(GOLDEN, 0.3, 3).rate_nats


def test_collapse_starts_where_the_spectrum_says() -> None:
    assert collapse_level(GOLDEN[::-1]) == 5.0
    assert collapse_beta(GOLDEN, sigma2=0.25) == 20.0
    assert linear_vae(GOLDEN, 5.0, 8).rate_nats == 0.0
    assert linear_vae(GOLDEN, 4.999, 8).rate_nats > 0.0


@pytest.mark.parametrize("latent", range(8))
def test_a_latent_dies_at_its_beta_and_not_before(latent: int) -> None:
    sigma2 = 0.25
    beta = death_betas(GOLDEN, sigma2)[latent]
    assert linear_vae(GOLDEN, beta * sigma2 * 0.9999, 8).active == latent + 1
    assert linear_vae(GOLDEN, beta * sigma2 * 1.0001, 8).active == latent


@pytest.mark.parametrize("latents", [1, 3, 7])
def test_under_a_learned_variance_latents_die_where_a_minimiser_over_it_says(
    latents: int,
) -> None:
    """σ² found by a scan of the objective, and the latents then counted against t = βσ²."""

    def active(beta: float) -> int:
        def objective(log_sigma2: float) -> float:
            sigma2 = math.exp(log_sigma2)
            return linear_vae_objective(GOLDEN, beta=beta, sigma2=sigma2, latents=latents)

        found = minimize_scalar(
            objective, bounds=(-9, 3), method="bounded", options={"xatol": 1e-10}
        )
        return active_count(GOLDEN, beta * math.exp(found.x), latents)

    for latent, beta in enumerate(death_betas(GOLDEN, None)[:latents]):
        assert active(beta * 0.998) == latent + 1
        assert active(beta * 1.002) == latent


def test_directions_without_variance_hold_no_latent_that_could_die() -> None:
    assert_allclose(death_betas([4.0, 2.0, 0.0], 0.5), [8.0, 4.0])
    assert_allclose(death_betas([4.0, 2.0, 0.0], None), [3 * 4 / 6, 3 * 2 / 4])
    assert death_betas([0.0, 0.0], None).shape == (0,)


@given(SPECTRA_WITH_ZEROS, st.one_of(st.none(), st.floats(0.05, 2)))
def test_the_last_death_is_the_collapse(spectrum: list[float], sigma2: float | None) -> None:
    assume(max(spectrum) > 0)
    deaths = death_betas(spectrum, sigma2)
    assert (np.diff(deaths) <= 1e-12).all()
    assert_allclose(collapse_beta(spectrum, sigma2), deaths[0])


def test_with_a_learned_variance_everything_collapses_at_the_largest_over_the_mean() -> None:
    collapse = collapse_beta(GOLDEN, sigma2=None)
    assert_allclose(collapse, max(GOLDEN) / np.mean(GOLDEN))
    assert learned_variance(GOLDEN, beta=collapse * 1.0001, latents=8).active == 0
    assert learned_variance(GOLDEN, beta=collapse * 0.9999, latents=8).active == 1


@given(SPECTRA, LEVELS, LATENTS, st.floats(0.05, 2))
def test_the_beta_of_a_level_sets_that_level(
    spectrum: list[float], level: float, latents: int, sigma2: float
) -> None:
    assert_allclose(beta_at_level(spectrum, level, sigma2, latents) * sigma2, level)
    assume(latents < len(spectrum))  # else all levels below the last death have one β
    learned = learned_variance(
        spectrum, beta=beta_at_level(spectrum, level, None, latents), latents=latents
    )
    assert_allclose(learned.level, level)


def test_constant_data_collapse_at_no_beta() -> None:
    with pytest.raises(ValueError, match="`0 < level < inf` must hold, but got level=0"):
        collapse_beta([0.0, 0.0], None)


@settings(max_examples=25, deadline=None)
@given(SPECTRA.filter(lambda values: len(values) <= 4), st.floats(0.2, 5), st.floats(0.05, 2))
def test_the_optimum_equals_numerical_minimisation_over_encoders_and_decoders(
    spectrum: list[float], beta: float, sigma2: float
) -> None:
    values, n = np.sort(spectrum)[::-1], len(spectrum)

    def loss(x: Array) -> float:
        return objective_of(values, x[:n], x[n : 2 * n], np.exp(x[2 * n :]), beta, sigma2)

    found = minimize(loss, np.concatenate([np.full(2 * n, 0.5), np.zeros(n)]), tol=1e-12)
    exact = linear_vae_objective(spectrum, beta=beta, sigma2=sigma2, latents=n)
    assert_allclose(found.fun, exact, rtol=1e-5, atol=1e-6)
    vae = linear_vae(spectrum, beta * sigma2, n)
    ours = np.concatenate([vae.encoder_gains, vae.decoder_gains, np.log(vae.posterior_variances)])
    assert_allclose(loss(ours), exact, rtol=1e-10)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_no_linear_encoder_and_decoder_with_fewer_latents_beats_the_closed_form(
    seed: int, latents: int
) -> None:
    """Full matrices on correlated pixels, minimised from a random start."""
    rng = np.random.default_rng(seed)
    n, beta, sigma2 = 4, 1.0, 0.3
    root = rng.normal(size=(n, n))
    covariance = root @ root.T / n

    def loss(x: Array) -> float:
        V, W = x[: n * latents].reshape(latents, n), x[n * latents : -latents].reshape(n, latents)
        s = np.exp(x[-latents:])
        residual = np.eye(n) - W @ V
        se = np.trace(residual @ covariance @ residual.T) + (W**2 * s).sum()
        rate = 0.5 * (np.trace(V @ covariance @ V.T) + (s - 1 - np.log(s)).sum())
        return float(se / (2 * sigma2) + n / 2 * math.log(2 * math.pi * sigma2) + beta * rate)

    found = minimize(loss, rng.normal(size=(2 * n + 1) * latents) * 0.5, options={"maxiter": 500})
    spectrum = np.linalg.eigvalsh(covariance)
    exact = linear_vae_objective(spectrum, beta=beta, sigma2=sigma2, latents=latents)
    assert found.fun >= exact - 1e-6
    assert found.fun <= exact + 0.05 * abs(exact) + 0.05


@given(SPECTRA, LEVELS, LATENTS)
def test_the_parts_of_an_optimum_add_up_to_its_point(
    spectrum: list[float], level: float, latents: int
) -> None:
    vae = linear_vae(spectrum, level, latents)
    assert len(vae.latent_rates_nats) == len(vae.posterior_variances) == latents
    assert_allclose(vae.latent_rates_nats.sum(), vae.rate_nats, atol=1e-12)
    assert_allclose(vae.direction_distortions_se.sum(), vae.distortion_se)
    assert np.count_nonzero(vae.mean_variances) == vae.active
    assert_allclose(vae.mean_variances + vae.posterior_variances, 1.0)  # q(z) = N(0, I)


@given(SPECTRA, LEVELS, LATENTS)
def test_the_point_of_the_posterior_mean_lies_below_the_bound_and_must_not_be_used(
    spectrum: list[float], level: float, latents: int
) -> None:
    vae = linear_vae(spectrum, level, latents)
    assume(vae.active == active_count(spectrum, level) and vae.rate_nats > 1e-3)
    assert vae.mean_distortion_se < vae.distortion_se
    assert rate_above_shannon(spectrum, vae.rate_nats, vae.mean_distortion_se) < 0
    assert_allclose(rate_above_shannon(spectrum, vae.rate_nats, vae.distortion_se), 0, atol=1e-8)


@given(SPECTRA, LEVELS, LATENTS)
def test_the_gap_to_the_bound_equals_the_difference_of_rates(
    spectrum: list[float], level: float, latents: int
) -> None:
    vae = linear_vae(spectrum, level, latents)
    difference = rate_above_shannon(spectrum, vae.rate_nats, vae.distortion_se)
    assert_allclose(shannon_gap(spectrum, level, latents), difference, rtol=1e-7, atol=1e-7)


@given(SPECTRA, st.floats(0.2, 5), st.floats(0.05, 2), LATENTS)
def test_the_exact_likelihood_is_that_of_a_normal_distribution_with_the_models_covariance(
    spectrum: list[float], beta: float, sigma2: float, latents: int
) -> None:
    values = spectrum_of(spectrum)
    weights = linear_vae(values, beta * sigma2, latents).decoder_gains[: values.size]
    model = np.diag(np.append(weights**2, np.zeros(values.size - weights.size)) + sigma2)
    # E ln p(x) of x ~ N(0, diag λ) is the log density at x = √λ, where x xᵀ has the diagonal λ.
    expected = -multivariate_normal(np.zeros(values.size), model).logpdf(np.sqrt(values))
    exact = linear_vae_nll(values, beta=beta, sigma2=sigma2, latents=latents)
    assert_allclose(exact, expected, rtol=1e-9)


def test_at_beta_one_the_bound_on_the_likelihood_is_tight() -> None:
    exact = linear_vae_nll(GOLDEN, beta=1, sigma2=0.3, latents=4)
    assert_allclose(linear_vae_objective(GOLDEN, beta=1, sigma2=0.3, latents=4), exact)
    assert linear_vae_nll(GOLDEN, beta=4, sigma2=0.3, latents=4) > exact


def test_gaussian_nll_is_the_sum_of_log_densities() -> None:
    errors = np.array([0.3, -1.2, 0.7])
    expected = -multivariate_normal(np.zeros(3), 0.4 * np.eye(3)).logpdf(errors)
    assert_allclose(gaussian_nll(float((errors**2).sum()), 0.4, 3), expected)


# --- Held-out data --------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "latents"), [(0.1, 8), (1.0, 3), (3.0, 8), (6.0, 4)])
def test_heldout_rate_and_distortion_equal_a_simulation_of_encoder_and_decoder(
    level: float, latents: int
) -> None:
    """Held-out data of another covariance, through the explicit encoder, noise and decoder."""
    rng = np.random.default_rng(1)
    n, draws = len(GOLDEN), 200_000
    vae = linear_vae(GOLDEN, level, latents)
    k = vae.active
    x = rng.normal(size=(draws, n)) * np.sqrt(GOLDEN) * rng.uniform(0.6, 1.5, size=n) + 0.2
    means, variances = x[:, :k] * vae.encoder_gains[:k], vae.posterior_variances[:k]
    z = means + np.sqrt(variances) * rng.normal(size=(draws, k))
    errors = x.copy()
    errors[:, :k] -= z * vae.decoder_gains[:k]
    rates = 0.5 * (means**2 + variances - 1 - np.log(variances)).sum(axis=1)
    exact = heldout_linear_vae(GOLDEN, (x**2).mean(axis=0), level, latents)
    assert_allclose(exact.rate_nats, rates.mean(), rtol=1e-9, atol=1e-12)
    assert_allclose(exact.distortion_se, (errors**2).sum(axis=1).mean(), rtol=0.01)


@given(SPECTRA, LEVELS, LATENTS)
def test_data_with_the_training_moments_land_on_the_training_point(
    spectrum: list[float], level: float, latents: int
) -> None:
    values = spectrum_of(spectrum)
    heldout = heldout_linear_vae(values, values, level, latents)
    vae = linear_vae(values, level, latents)
    assert_allclose(
        [heldout.rate_nats, heldout.distortion_se], [vae.rate_nats, vae.distortion_se], atol=1e-9
    )


def test_heldout_moments_must_pair_with_a_descending_spectrum() -> None:
    with pytest.raises(ValueError, match="spectrum must descend"):
        heldout_linear_vae([1.0, 2.0], [1.0, 2.0], 0.1, 2)
    with pytest.raises(ValueError, match=r"got \(1,\) moments for \(2,\) eigenvalues"):
        heldout_linear_vae([2.0, 1.0], [1.0], 0.1, 2)


# --- Learned variance, capacity -------------------------------------------------------------------


@given(SPECTRA, st.floats(0.1, 6), LATENTS)
def test_the_learned_variance_minimises_the_objective_over_a_fine_scan(
    spectrum: list[float], beta: float, latents: int
) -> None:
    n = len(spectrum)
    assume(latents < n or beta > 1.02)

    def objective(log_sigma2: float) -> float:
        sigma2 = math.exp(log_sigma2)
        return linear_vae_objective(spectrum, beta=beta, sigma2=sigma2, latents=latents)

    learned = learned_variance(spectrum, beta=beta, latents=latents)
    scan = minimize_scalar(
        objective, bounds=(math.log(1e-6), math.log(1e3)), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    assert objective(math.log(learned.sigma2)) <= scan.fun + 1e-7
    assert_allclose(learned.level, beta * learned.sigma2)
    assert learned.active == active_count(spectrum, learned.level, latents)
    assert not learned.clamped


def test_a_learned_variance_at_beta_one_is_probabilistic_pca() -> None:
    """Tipping and Bishop 1999: the mean of the eigenvalues that are left out."""
    learned = learned_variance(GOLDEN, beta=1, latents=3)
    assert_allclose(learned.sigma2, np.mean(GOLDEN[3:]))
    assert learned.active == 3


def test_a_learned_variance_of_a_collapsed_model_is_the_variance_per_pixel() -> None:
    learned = learned_variance(GOLDEN, beta=100, latents=3)
    assert_allclose(learned.sigma2, np.mean(GOLDEN))
    assert learned.active == 0


@pytest.mark.parametrize("spectrum", [GOLDEN, [*GOLDEN, 0.0]])
def test_a_learned_variance_that_shrinks_to_nothing_needs_the_models_floor(
    spectrum: list[float],
) -> None:
    with pytest.raises(ValueError, match=r"`0 < floor` must hold .* got floor=0 with latents=8"):
        learned_variance(spectrum, beta=1, latents=8)
    learned = learned_variance(spectrum, beta=1, latents=8, floor=1e-4)
    assert learned.sigma2 == 1e-4
    assert learned.clamped


@given(SPECTRA, st.floats(0, 8), st.floats(0.05, 5), LATENTS)
def test_the_capacity_objective_ends_at_the_best_point_of_the_curve(
    spectrum: list[float], capacity: float, gamma: float, latents: int
) -> None:
    sigma2 = 0.5
    optimum = capacity_linear_vae(
        spectrum, gamma=gamma, capacity_nats=capacity, sigma2=sigma2, latents=latents
    )

    def objective(level: float) -> float:
        vae = linear_vae(spectrum, level, latents)
        return vae.distortion_se / (2 * sigma2) + gamma * abs(vae.rate_nats - capacity)

    assume(optimum.level > 1e-6)
    scan = np.append(np.geomspace(optimum.level * 0.2, 10.5, 200), optimum.level * 1.0001)
    assert objective(optimum.level) <= min(map(objective, map(float, scan))) + 1e-9
    free = linear_vae(spectrum, gamma * sigma2, latents).rate_nats
    assert_allclose(optimum.rate_nats, max(capacity, free), atol=1e-9)


# --- Refusals -------------------------------------------------------------------------------------


def test_impossible_levels_variances_and_latents_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`0 < level < inf` must hold, but got level=0"):
        linear_vae(GOLDEN, 0.0, 8)
    with pytest.raises(ValueError, match="`latents >= 1` must hold, but got latents=0"):
        linear_vae(GOLDEN, 1.0, 0)
    with pytest.raises(ValueError, match="`0 < sigma2 < inf` must hold, but got sigma2=-1"):
        gaussian_nll(1.0, -1.0, 8)
