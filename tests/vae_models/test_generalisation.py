"""The generalisation gap: the held-out evaluation, on training examples."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_models.config import LIKELIHOODS, ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.example_terms import evenly_spaced
from vae_models.generalisation import training_point
from vae_models.vae import VAE, build_vae


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _model(**settings: Any) -> VAE:
    return build_vae(ModelConfig(**{"hidden": (8,), "latent_dim": 2, **settings}), (1, 8, 8), 0)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize("binarisation", ["none", "static", "dynamic"])
def test_the_gap_is_zero_where_both_splits_are_the_same(
    samples: int, prior: str, binarisation: str
) -> None:
    data = load_data(DataConfig(name="digits", binarisation=binarisation))
    data, model = replace(data, train=data.heldout), _model(prior=prior)
    heldout, train = (f(model, data, samples=samples) for f in (evaluate, training_point))
    assert train.rate_nats == heldout.rate_nats
    assert train.distortion_se == heldout.distortion_se
    assert train.distortion_nll_nats == heldout.distortion_nll_nats


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_it_is_what_an_evaluation_on_those_examples_gives(
    digits: DataSet, likelihood: str
) -> None:
    model = _model(likelihood=likelihood)
    found = training_point(model, digits, samples=2, seed=3)
    n, m = len(digits.train), len(digits.heldout)
    chosen = digits.train[[i * n // m for i in range(m)]]
    expected = evaluate(model, replace(digits, heldout=chosen), samples=2, seed=3)
    assert found.examples == m
    assert found.rate_nats == expected.rate_nats
    assert found.distortion_se == expected.distortion_se
    assert found.distortion_nll_nats == expected.distortion_nll_nats


def test_a_model_that_remembers_one_split_has_a_gap() -> None:
    """A decoder whose only picture is the training mean reconstructs training images better."""
    generator = torch.Generator().manual_seed(0)
    train = torch.rand((50, 1, 4, 4), generator=generator) * 0.2
    heldout = torch.rand((50, 1, 4, 4), generator=generator) * 0.2 + 0.5
    data = DataSet(name="made", train=train, heldout=heldout, scale=1.0)
    model = build_vae(ModelConfig(family="linear", latent_dim=1), (1, 4, 4), seed=0)
    with torch.no_grad():
        model.get_parameter("decoder.output.weight").zero_()
        model.get_parameter("decoder.output.bias").fill_(0.1)
    gap = evaluate(model, data).distortion_se - training_point(model, data).distortion_se
    expected = (heldout - 0.1).square().sum() / 50 - (train - 0.1).square().sum() / 50
    assert gap == pytest.approx(expected.item(), rel=1e-5)


def test_dynamic_binarisation_is_drawn_once_and_not_from_the_global_state() -> None:
    data = load_data(DataConfig(name="digits", binarisation="dynamic"))
    torch.manual_seed(1)
    first = training_point(_model(likelihood="bernoulli"), data)
    torch.manual_seed(2)
    assert training_point(_model(likelihood="bernoulli"), data) == first


def test_fewer_training_than_held_out_examples_are_all_taken(digits: DataSet) -> None:
    few = replace(digits, train=digits.train[:7])
    assert training_point(_model(), few).examples == 7


def _numbered(count: int) -> Tensor:
    return torch.arange(count).float().view(-1, 1, 1, 1)


def test_evenly_spaced_examples_are_a_fair_share_of_a_sorted_split() -> None:
    images = _numbered(1000)
    chosen = evenly_spaced(images, 10).flatten().tolist()
    assert chosen == [float(100 * i) for i in range(10)]
    assert len(evenly_spaced(images, 0)) == 0
    assert torch.equal(evenly_spaced(images, 1000), images)
    assert torch.equal(evenly_spaced(images, 5000), images)
    odd = evenly_spaced(_numbered(7), 5).flatten().tolist()
    assert odd == [0, 1, 2, 4, 5]
