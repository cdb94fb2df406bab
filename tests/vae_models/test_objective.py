"""Every reduction is two numbers; theory.md §3 lists what they must come to."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_models.errors import ConfigError
from vae_models.objective import (
    BATCH_REDUCTIONS,
    REDUCTIONS,
    Weights,
    beta_from_norm,
    beta_norm,
    canonical_beta,
    level,
    raw_weight_of,
    weights_of,
)

N, M, B, b = 784, 10, 128, 0.3
SIZES = {"pixels": N, "latents": M, "batch": B}

sizes = st.fixed_dictionaries(
    {
        "pixels": st.integers(1, 10**6),
        "latents": st.integers(1, 10**4),
        "batch": st.integers(1, 10**4),
    }
)
reductions = st.sampled_from(REDUCTIONS)
raw_weights = st.floats(1e-9, 1e9)


@pytest.mark.parametrize(
    ("reduction", "beta"),
    [
        ("sum", b),
        ("pixel_mean", b * N),
        ("mean", b * N / M),
        ("latent_mean", b / M),
        ("batch_sum", b),
        ("kl_batch_sum", b * N * B),
        ("nll_batch_sum", b / B),
    ],
)
def test_a_raw_weight_has_the_canonical_beta_of_its_reduction(reduction: str, beta: float) -> None:
    weights = weights_of(reduction, b, **SIZES)
    assert canonical_beta(weights) == pytest.approx(beta, rel=1e-12)


@pytest.mark.parametrize(
    ("reduction", "sigma2", "scale", "t"),
    [
        pytest.param("sum", 0.7, 1, b * 0.7, id="SE/(2σ²) + bK"),
        pytest.param("sum", 1.0, 1, b, id="SE/2 + bK"),
        pytest.param("sum", 0.5, 1, b / 2, id="SE + bK"),
        pytest.param("pixel_mean", 0.5, 1, b * N / 2, id="mse mean over pixels + bK"),
        pytest.param("pixel_mean", 1.0, 1, b * N, id="½ mse mean + bK"),
        pytest.param("mean", 0.5, 1, b * N / (2 * M), id="mse mean + bK/M"),
        pytest.param("mean", 1.0, 1, b * N / M, id="½ mse mean + bK/M"),
        pytest.param("latent_mean", 0.5, 1, b / (2 * M), id="SE + bK/M"),
        pytest.param("batch_sum", 0.5, 1, b / 2, id="SE + bK, both summed over the batch"),
        pytest.param("kl_batch_sum", 0.5, 1, b * N * B / 2, id="mse mean, KL summed over batch"),
        pytest.param("nll_batch_sum", 0.5, 1, b / (2 * B), id="SE summed over batch, KL averaged"),
        pytest.param("sum", 0.5, 3, b / (2 * 3**2), id="data scaled by 3, SE' + bK"),
    ],
)
def test_a_gaussian_loss_trades_rate_against_squared_error_at_the_level_of_the_table(
    reduction: str, sigma2: float, scale: float, t: float
) -> None:
    beta = canonical_beta(weights_of(reduction, b, **SIZES))
    assert level(beta, sigma2) / scale**2 == pytest.approx(t, rel=1e-12)


def test_batch_sum_weighs_both_terms_with_the_batch() -> None:
    assert weights_of("batch_sum", b, **SIZES) == Weights(nll=B, rate=B * b)


def test_the_two_common_mistakes_weigh_one_term_with_the_batch() -> None:
    assert weights_of("kl_batch_sum", b, **SIZES) == Weights(nll=1 / N, rate=B * b)
    assert weights_of("nll_batch_sum", b, **SIZES) == Weights(nll=B, rate=b)


@given(reductions, raw_weights, sizes, st.integers(1, 10**4))
def test_only_the_batch_reductions_mean_another_beta_at_another_batch_size(
    reduction: str, raw: float, sizes: dict[str, int], other: int
) -> None:
    beta = canonical_beta(weights_of(reduction, raw, **sizes))
    moved = canonical_beta(weights_of(reduction, raw, **{**sizes, "batch": other}))
    factor = {"kl_batch_sum": other / sizes["batch"], "nll_batch_sum": sizes["batch"] / other}
    assert moved == pytest.approx(beta * factor.get(reduction, 1.0), rel=1e-12)
    assert set(factor) == set(BATCH_REDUCTIONS)


@given(reductions, raw_weights, sizes)
def test_raw_weight_and_canonical_beta_invert_each_other(
    reduction: str, raw: float, sizes: dict[str, int]
) -> None:
    beta = canonical_beta(weights_of(reduction, raw, **sizes))
    assert raw_weight_of(reduction, beta, **sizes) == pytest.approx(raw, rel=1e-12)


@given(raw_weights, sizes)
def test_the_raw_weight_of_mean_mean_is_the_normalised_beta(
    raw: float, sizes: dict[str, int]
) -> None:
    beta = canonical_beta(weights_of("mean", raw, **sizes))
    pixels, latents = sizes["pixels"], sizes["latents"]
    assert beta_norm(beta, pixels=pixels, latents=latents) == pytest.approx(raw, rel=1e-12)
    assert beta_from_norm(raw, pixels=pixels, latents=latents) == pytest.approx(beta, rel=1e-12)


def test_the_normalised_beta_shifts_by_the_published_factors() -> None:
    assert beta_from_norm(1.0, pixels=784, latents=10) == pytest.approx(78.4)
    assert beta_from_norm(1.0, pixels=3072, latents=128) == pytest.approx(24.0)


def test_an_unknown_reduction_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"got 'pixelmean'. Did you mean 'pixel_mean'"):
        weights_of("pixelmean", b, **SIZES)


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`latents >= 1` must hold .* got latents=0"):
        weights_of("mean", b, pixels=N, latents=0, batch=B)


@pytest.mark.parametrize("raw", [-1.0, math.nan, math.inf])
def test_a_weight_that_is_negative_or_not_finite_is_refused(raw: float) -> None:
    with pytest.raises(ConfigError, match="`0 <= rate < inf` must hold"):
        weights_of("sum", raw, **SIZES)


def test_a_loss_without_its_nll_is_refused() -> None:
    with pytest.raises(ConfigError, match="`0 < nll < inf` must hold"):
        Weights(nll=0.0, rate=1.0)
