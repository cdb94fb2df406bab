"""Conversions of a KL weight: there and back, what is refused, and what the sentences say."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vae_models.config import LIKELIHOODS
from vae_models.conversion import Conversion, convert, weights_to_paste
from vae_models.errors import ConfigError
from vae_models.objective import BATCH_REDUCTIONS, REDUCTIONS, canonical_beta, weights_of

MNIST: dict[str, Any] = {"pixels": 784, "latents": 20}

sizes = st.fixed_dictionaries(
    {
        "pixels": st.integers(1, 10**7),
        "latents": st.integers(1, 10**5),
        "batch": st.integers(1, 10**5),
    }
)
reductions = st.sampled_from(REDUCTIONS)
weights = st.floats(1e-9, 1e9)
error_terms = st.fixed_dictionaries(
    {
        "likelihood": st.sampled_from(["gaussian", "mse"]),
        "sigma2": st.none() | st.floats(1e-6, 1e6),
        "half": st.booleans(),
        "data_scale": st.floats(1e-3, 1e3),
    }
) | st.fixed_dictionaries({"likelihood": st.sampled_from(LIKELIHOODS)})


def _mnist(**said: Any) -> Conversion:
    return convert(**{"reduction": "sum", "weight": 1.0, **MNIST, **said})


def test_a_mean_over_pixels_and_latents() -> None:
    """MNIST, M = 20, 0.1 before the KL: theory has t = bN/(2M) and beta_norm = b."""
    conversion = _mnist(reduction="mean", weight=0.1)
    assert conversion.beta == pytest.approx(3.92)
    assert conversion.t == pytest.approx(1.96)
    assert conversion.beta_norm == pytest.approx(0.1)
    assert conversion.weights == pytest.approx(
        {"sum": 3.92, "mean": 0.1, "pixel_mean": 0.005, "latent_mean": 78.4, "batch_sum": 3.92}
    )


def test_the_published_factor_between_the_two_ways_of_saying_the_same_weight() -> None:
    """MNIST with 10 latents: 78.4; CIFAR-10 with 128: 24."""
    mnist = convert(reduction="mean", weight=1, pixels=784, latents=10, likelihood="bernoulli")
    cifar = convert(reduction="mean", weight=1, pixels=3072, latents=128, likelihood="bernoulli")
    assert (mnist.beta, cifar.beta) == pytest.approx((78.4, 24.0))


@given(reductions, reductions, weights, sizes, error_terms)
def test_a_weight_converted_to_any_mode_and_back_means_the_same(
    source: str, target: str, weight: float, sizes: dict[str, Any], error: dict[str, Any]
) -> None:
    there = convert(reduction=source, weight=weight, **sizes, **error)
    assert there.weights[source] == pytest.approx(weight, rel=1e-12)
    back = convert(reduction=target, weight=there.weights[target], **sizes, **error)
    assert back.beta == pytest.approx(there.beta, rel=1e-12)
    assert back.t == (None if there.t is None else pytest.approx(there.t, rel=1e-12))
    assert back.weights == pytest.approx(dict(there.weights), rel=1e-12)


@given(weights, sizes, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_the_level_does_not_depend_on_how_a_variance_is_split_from_beta(
    weight: float, sizes: dict[str, Any], sigma2: float, factor: float
) -> None:
    assume(1e-9 < weight / factor < 1e9)
    one = convert(reduction="sum", weight=weight, sigma2=sigma2, **sizes)
    other = convert(reduction="sum", weight=weight / factor, sigma2=sigma2 * factor, **sizes)
    assert one.t == pytest.approx(other.t, rel=1e-12)


@given(st.floats(1e-9, 1e9), sizes)
def test_weights_to_paste_have_the_beta_that_they_were_made_for(
    beta: float, sizes: dict[str, Any]
) -> None:
    pasted = weights_to_paste(beta, **sizes)
    assert list(pasted) == list(REDUCTIONS)
    for mode, weight in pasted.items():
        assert canonical_beta(weights_of(mode, weight, **sizes)) == pytest.approx(beta, rel=1e-12)


def test_without_a_batch_size_the_modes_that_depend_on_it_are_left_out() -> None:
    unknown = _mnist().weights
    assert set(REDUCTIONS) - set(unknown) == set(BATCH_REDUCTIONS)
    known = _mnist(batch=40).weights
    assert {mode: known[mode] for mode in unknown} == unknown
    assert set(weights_to_paste(1.0, **MNIST)) == set(unknown)


def test_half_beside_a_variance_changes_nothing() -> None:
    assert _mnist(sigma2=0.3, half=True) == _mnist(sigma2=0.3)


def test_a_missing_half_is_a_variance_of_one_half() -> None:
    plain, halved = _mnist(), _mnist(half=True)
    assert (plain.t, plain.beta) == (_mnist(sigma2=0.5).t, _mnist(sigma2=0.5).beta)
    assert (halved.t, halved.beta) == (_mnist(sigma2=1.0).t, _mnist(sigma2=1.0).beta)


@pytest.mark.parametrize("likelihood", [n for n in LIKELIHOODS if n not in ("gaussian", "mse")])
def test_only_a_fixed_variance_has_a_level(likelihood: str) -> None:
    conversion = _mnist(likelihood=likelihood)
    assert conversion.t is None
    assert conversion.beta == 1.0
    assert conversion.beta_norm == pytest.approx(20 / 784)


def test_a_record_is_json_with_null_where_there_is_no_level() -> None:
    plain = json.loads(json.dumps(_mnist(likelihood="bernoulli", batch=8).to_dict()))
    assert set(plain) == {"beta", "t", "beta_norm", "weights", "equivalent"}
    assert plain["t"] is None
    assert set(plain["weights"]) == set(REDUCTIONS)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"reduction": "mean", "weight": 0.1},
            "the same optimum as SE/2 + 1.96·KL: a Gaussian decoder with sigma² = 1.96 at beta = 1",
        ),
        (
            {"reduction": "mean", "weight": 0.1},
            "sigma² = 0.5, which is what a squared error witho",
        ),
        ({"half": True}, "sigma² = 1, which is what a squared error with its ½ amounts to"),
        ({"sigma2": 0.04}, "beta = 1 for a Gaussian decoder with sigma² = 0.04, which is"),
        ({"data_scale": 255, "weight": 65025}, "in units of the data before their scaling by 255"),
        ({"data_scale": 2, "weight": 8}, "of the unscaled data with a variance above 1"),
        ({}, "beta_norm = 0.0255102 is beta·M/N"),
        ({"likelihood": "bernoulli"}, "the same optimum as NLL + 1·KL (minus the ELBO)"),
        (
            {"likelihood": "bernoulli", "weight": 4},
            "one nat of KL counts as much as 4 nats of NLL",
        ),
        ({"likelihood": "bce"}, "the same optimum as BCE + 1·KL, the BCE in nats summed"),
        ({"likelihood": "bce"}, "on grey pixels it is no likelihood"),
        ({"likelihood": "gaussian_learned"}, "sigma² settles by itself at the mean squared error"),
        ({"likelihood": "gaussian_pixel"}, "at the expected squared error of each pixel"),
        ({"likelihood": "laplace"}, "settles by itself at the mean absolute error"),
        ({"reduction": "kl_batch_sum", "batch": 40}, "at another one than 40, the same weight is"),
        ({"weight": 0}, "no KL at all: an autoencoder"),
        ({}, "other steps of plain SGD, gradient clipping and L2 decay"),
    ],
)
def test_a_sentence_says_what_the_loss_is_equivalent_to(
    said: dict[str, Any], sentence: str
) -> None:
    assert sentence in "\n".join(_mnist(**said).sentences)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_sentences_are_single_lines_for_every_likelihood(likelihood: str) -> None:
    assert all("\n" not in sentence for sentence in _mnist(likelihood=likelihood).sentences)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"reduction": "meen"}, r"reduction must be one of .*'meen'. Did you mean 'mean'\?"),
        ({"likelihood": "gausian"}, r"likelihood must be one of .* Did you mean 'gaussian'\?"),
        ({"weight": -1}, r"`0 <= weight < inf` must hold for a KL weight, but got weight=-1"),
        ({"weight": math.inf}, r"`0 <= weight < inf` must hold .* got weight=inf"),
        ({"weight": math.nan}, r"`0 <= weight < inf` must hold .* got weight=nan"),
        ({"weight": "0.1"}, r"`0 <= weight < inf` must hold .* got weight='0\.1'"),
        ({"pixels": 0}, r"`1 <= pixels <= \d+` must hold for a KL weight \(a whole number\)"),
        ({"pixels": 10**400}, r"`1 <= pixels <= \d+` must hold"),
        ({"latents": 2.5}, r"`1 <= latents <= \d+` .* got latents=2\.5"),
        ({"batch": 0}, r"`1 <= batch <= \d+` .* got batch=0"),
        ({"sigma2": 0}, r"`0 < sigma2 < inf` must hold"),
        ({"data_scale": 0}, r"`0 < data_scale < inf` must hold"),
        ({"data_scale": -255}, r"`0 < data_scale < inf` must hold"),
        ({"half": 1}, r"`half` must be true or false, but got half=1"),
        (
            {"reduction": "kl_batch_sum"},
            r"`batch` must be given with reduction='kl_batch_sum', in which the batch size",
        ),
        ({"reduction": "nll_batch_sum"}, r"`batch` must be given with reduction='nll_batch_sum'"),
        (
            {"likelihood": "gaussian_learned", "sigma2": 1},
            r"`sigma2` .* left out with likelihood='gaussian_learned', which finds its own",
        ),
        ({"likelihood": "bernoulli", "sigma2": 1}, r"`sigma2` .*'bernoulli', which has none"),
        ({"likelihood": "bce", "half": True}, r"`half` stands before a squared error .*'bce'"),
        ({"likelihood": "beta", "data_scale": 255}, r"`data_scale == 1` must hold .*'beta'"),
    ],
)
def test_a_loss_that_cannot_be_is_refused_in_one_line(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _mnist(**said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        {"weight": 1e308, "sigma2": 1e308},
        {"reduction": "mean", "weight": 1e308, "latents": 1},
        {"weight": 1e308, "data_scale": 1e-200},
        {"weight": 1.0, "data_scale": 1e200},
        {"weight": 5e-324},
    ],
    ids=str,
)
def test_a_result_that_no_float_can_hold_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"`beta, t and every weight are finite and not rounded"):
        _mnist(**said)


def test_a_weight_of_zero_is_zero_everywhere() -> None:
    conversion = _mnist(weight=0, batch=4)
    assert (conversion.beta, conversion.t, conversion.beta_norm) == (0.0, 0.0, 0.0)
    assert set(conversion.weights.values()) == {0.0}


def test_a_weight_is_asked_for_by_the_name_of_its_mode() -> None:
    assert _mnist(reduction="mean", weight=0.1).weight_in("latent_mean") == pytest.approx(78.4)
    with pytest.raises(
        ConfigError, match=r"reduction must be one of .*Did you mean 'latent_mean'"
    ):
        _mnist().weight_in("latent-mean")
    with pytest.raises(ConfigError, match=r"`batch >= 1` must hold for .*'kl_batch_sum'"):
        _mnist().weight_in("kl_batch_sum")


def test_conversion_needs_no_torch() -> None:
    code = "import sys, vae_models.conversion; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
