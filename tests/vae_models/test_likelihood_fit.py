"""Data that a likelihood cannot have are refused in one line, before anything is trained."""

import math
import re
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from vae_models.config import LIKELIHOODS, ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.errors import ConfigError
from vae_models.evaluation import evaluate
from vae_models.likelihood_fit import refuse_unfit
from vae_models.likelihood_kinds import (
    LARGEST_CATEGORICAL_PIXELS,
    LIKELIHOOD_MEASURES,
    UNIT_INTERVAL_LIKELIHOODS,
)
from vae_models.vae import build_vae


def _data(
    train: Tensor, heldout: Tensor | None = None, scale: float = 1.0, peak: float | None = 1.0
) -> DataSet:
    return DataSet(
        name="made",
        train=train,
        heldout=train if heldout is None else heldout,
        scale=scale,
        peak=peak,
    )


def _grey(value: float) -> Tensor:
    images = torch.full((3, 1, 2, 2), 0.5)
    images[1, 0, 1, 0] = value
    return images


@pytest.mark.parametrize("name", UNIT_INTERVAL_LIKELIHOODS)
def test_a_likelihood_of_the_unit_interval_refuses_data_without_bounds(name: str) -> None:
    message = (
        f"Likelihood '{name}' must have data between 0 and 1, but got 'made', whose values have "
        "no bounds. Use 'gaussian' or 'gaussian_learned'."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        refuse_unfit(ModelConfig(likelihood=name), _data(_grey(0.1), peak=None))


@pytest.mark.parametrize("name", UNIT_INTERVAL_LIKELIHOODS)
@pytest.mark.parametrize(
    ("value", "found"), [(1.5, "0.5 to 1.5"), (-0.25, "-0.25 to 0.5"), (math.nan, "nan to nan")]
)
def test_it_refuses_images_with_a_value_outside(name: str, value: float, found: str) -> None:
    for data in (_data(_grey(value)), _data(_grey(0.5), heldout=_grey(value))):
        message = f"between 0 and 1, but got 'made' with values from {found}. Use 'gaussian'"
        with pytest.raises(ConfigError, match=re.escape(message)):
            refuse_unfit(ModelConfig(likelihood=name), data)


def test_it_refuses_bytes_that_nobody_scaled() -> None:
    data = _data(torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16))
    with pytest.raises(ConfigError, match=r"'made' with values from 0 to 255\."):
        refuse_unfit(ModelConfig(likelihood="beta"), data)


@pytest.mark.parametrize("name", UNIT_INTERVAL_LIKELIHOODS)
def test_it_takes_images(name: str) -> None:
    config = ModelConfig(likelihood=name)
    refuse_unfit(config, load_data(DataConfig(name="digits")))
    refuse_unfit(config, _data(torch.full((2, 1, 2, 2), 255, dtype=torch.uint8), scale=1 / 255))
    for value in (0.0, 1.0, 0.3):
        refuse_unfit(config, _data(torch.full((2, 1, 1, 1), value)))


def test_the_others_take_any_values() -> None:
    for name in set(LIKELIHOODS) - set(UNIT_INTERVAL_LIKELIHOODS):
        refuse_unfit(ModelConfig(likelihood=name), _data(_grey(-7.0), peak=None))


def test_the_categorical_takes_small_images_only_and_says_what_takes_large_ones() -> None:
    config = ModelConfig(likelihood="categorical256")
    assert LARGEST_CATEGORICAL_PIXELS == 3 * 32 * 32
    refuse_unfit(config, _data(torch.zeros((2, 3, 32, 32))))
    with pytest.raises(
        ConfigError,
        match=r"`pixels <= 3072` must hold for likelihood 'categorical256'.*"
        r"'discretized_logistic' has 2.* got pixels=3136\.$",
    ):
        refuse_unfit(config, _data(torch.zeros((2, 1, 56, 56))))


def test_every_likelihood_has_a_measure_and_probabilities_are_of_the_unit_interval() -> None:
    assert tuple(LIKELIHOOD_MEASURES) == LIKELIHOODS
    measured = {n for n, measure in LIKELIHOOD_MEASURES.items() if not measure.endswith("density")}
    assert measured < set(UNIT_INTERVAL_LIKELIHOODS)


def test_the_tables_are_read_without_torch() -> None:
    code = "import sys, vae_models.likelihood_kinds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("binarisation", ["none", "threshold"])
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_bits_per_dim_are_given_for_probabilities_of_the_levels_that_the_data_have(
    name: str, binarisation: str
) -> None:
    """Two levels on binary data, 256 levels on any image; never for a density."""
    data = load_data(DataConfig(name="digits", binarisation=binarisation, heldout_limit=20))
    model = build_vae(ModelConfig(hidden=(8,), likelihood=name), data.image_shape, seed=0)
    result = evaluate(model, data)
    always = name in ("discretized_logistic", "categorical256")
    if always or (name in ("bernoulli", "bce") and binarisation == "threshold"):
        assert result.bits_per_dim == pytest.approx(-result.elbo_nats / (64 * math.log(2)))
    else:
        assert result.bits_per_dim is None
