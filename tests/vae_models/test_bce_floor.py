"""The floor of the cross-entropy on grey images against its definition."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution

from vae_models.bce_floor import bce_floor_nats
from vae_models.config import LIKELIHOODS, ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.vae import VAE, build_vae


def _data(heldout: Tensor) -> DataSet:
    return DataSet(name="made", train=heldout, heldout=heldout, scale=1.0)


def _model(likelihood: str, data: DataSet) -> VAE:
    config = ModelConfig(hidden=(4,), latent_dim=1, likelihood=likelihood)
    return build_vae(config, data.image_shape, seed=0)


@pytest.mark.parametrize("likelihood", ["bernoulli", "bce"])
def test_the_floor_is_the_entropy_of_the_pixels(likelihood: str) -> None:
    data = load_data(DataConfig(name="digits"))
    floor = bce_floor_nats(_model(likelihood, data), data)
    pixels = data.heldout.double() / 16
    coins: Distribution = Bernoulli(probs=pixels)
    entropies = coins.entropy().flatten(1).sum(1)
    assert floor == pytest.approx(entropies.mean().item(), rel=1e-6)


@pytest.mark.parametrize("likelihood", ["bernoulli", "bce"])
def test_it_is_reached_by_the_images_themselves_and_by_nothing_else(likelihood: str) -> None:
    grey = torch.rand((50, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    model = _model(likelihood, _data(grey))
    floor = bce_floor_nats(model, _data(grey))
    assert floor is not None

    def cross_entropy(logits: Tensor) -> float:
        return model.likelihood(logits).costs(grey)[0].mean().item()  # type: ignore[no-any-return]

    assert cross_entropy(torch.logit(grey)) == pytest.approx(floor, rel=1e-5)
    assert cross_entropy(torch.logit(grey) + 0.3) > floor + 0.01


@pytest.mark.parametrize("binarisation", ["threshold", "static", "dynamic"])
def test_binary_images_have_none(binarisation: str) -> None:
    data = load_data(DataConfig(name="digits", binarisation=binarisation, heldout_limit=9))
    assert bce_floor_nats(_model("bernoulli", data), data) is None


@pytest.mark.parametrize("likelihood", sorted(set(LIKELIHOODS) - {"bernoulli", "bce"}))
def test_other_likelihoods_have_none(likelihood: str) -> None:
    data = _data(torch.full((3, 1, 2, 2), 0.5))
    assert bce_floor_nats(_model(likelihood, data), data) is None


def test_constant_images_of_one_pixel_have_the_entropy_of_a_coin() -> None:
    half = _data(torch.full((2, 1, 1, 1), 0.5))
    assert bce_floor_nats(_model("bce", half), half) == pytest.approx(math.log(2))
    # binary held-out images among grey training images: the floor there is zero
    mixed = DataSet(name="made", train=half.train, heldout=torch.ones((2, 1, 1, 1)), scale=1.0)
    assert bce_floor_nats(_model("bce", mixed), mixed) == 0
