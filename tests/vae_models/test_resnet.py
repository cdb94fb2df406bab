"""The residual family: depth that follows the image, no normalisation, no collapse at the start."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.resnet_networks import ResidualBlock
from vae_models.trainer import EpochResult, Trainer
from vae_models.vae import VAE, build_vae

SHAPES = {
    (1, 1, 1): [(1, 1)],
    (1, 2, 3): [(2, 3)],
    (1, 1, 8): [(1, 4), (1, 2)],
    (1, 8, 8): [(4, 4), (2, 2)],
    (3, 13, 5): [(6, 2), (3, 2)],
    (1, 28, 28): [(14, 14), (7, 7), (3, 3)],
    (3, 64, 64): [(32, 32), (16, 16), (8, 8), (4, 4), (2, 2)],
}


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _fresh(shape: tuple[int, int, int], **settings: object) -> VAE:
    return build_vae(ModelConfig(family="resnet", latent_dim=5, **settings), shape, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("shape", "expected"), SHAPES.items(), ids=str)
def test_every_side_is_halved_while_it_is_four_pixels_long(
    shape: tuple[int, int, int], expected: list[tuple[int, int]]
) -> None:
    vae = _fresh(shape)
    sizes = [shape[1:]]
    signal = torch.rand(2, *shape)
    for layer in list(vae.encoder.get_submodule("layers").children())[:-2]:
        signal = layer(signal)
        size = (signal.shape[2], signal.shape[3])
        if isinstance(layer, nn.Conv2d):
            sizes.append(size)
        assert size == sizes[-1]
    assert sizes[1:] == expected


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 33, 46), (1, 7, 300)], ids=str)
def test_the_decoder_goes_back_through_the_sizes_of_the_encoder(
    shape: tuple[int, int, int],
) -> None:
    vae = _fresh(shape)
    up, down = [], []
    signal = torch.rand(2, *shape)
    for layer in list(vae.encoder.get_submodule("layers").children())[:-2]:
        down.append(tuple(signal.shape[1:]))
        signal = layer(signal)
    signal = torch.rand(2, 5)
    for layer in vae.decoder.get_submodule("layers").children():
        signal = layer(signal)
        up.append(tuple(signal.shape[1:]))
    there = [one for one, other in pairwise([*down, None]) if one != other]
    back = [one for one, other in pairwise([*up[1:], None]) if one != other]
    assert back[1:] == there[::-1][1:]
    assert up[-1] == shape


def test_a_fresh_block_is_the_identity_and_learns_to_be_another_map() -> None:
    block = ResidualBlock(4)
    signal = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(signal), signal)
    optimiser = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        (block(signal) - 2 * signal).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and (p.grad != 0).any() for p in block.parameters())
    assert not torch.allclose(block(signal), signal)


def test_nothing_ties_the_examples_of_a_batch_together() -> None:
    vae = _fresh((1, 12, 12))
    kinds = {type(module) for net in (vae.encoder, vae.decoder) for module in net.modules()}
    assert not any("Norm" in kind.__name__ for kind in kinds)
    images = torch.rand(6, 1, 12, 12)
    together, alone = vae.encode(images).mean[2:3], vae.encode(images[2:3]).mean
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_train_and_an_evaluation_pass_are_the_same() -> None:
    vae = _fresh((1, 12, 12))
    images, noise = torch.rand(3, 1, 12, 12), torch.randn(3, 5)
    trained = vae(images, noise).distortion_nll_nats
    assert torch.equal(vae.eval()(images, noise).distortion_nll_nats, trained)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_latents_do_not_collapse_in_the_first_epochs(digits: DataSet, beta: float) -> None:
    """At these beta the digits are worth some nats, and each latent stays active in 8 epochs."""
    config = TrialConfig(
        model=ModelConfig(family="resnet", latent_dim=10, likelihood="bernoulli"),
        objective=ObjectiveConfig(beta=beta),
        train=TrainConfig(epochs=8, batch_size=64),
    )
    *_, last = Trainer([config], digits)
    assert isinstance(last, EpochResult)
    assert last.active_units is not None
    assert last.active_units >= 5
    assert last.rate_nats > 0.5


def test_a_high_learning_rate_does_not_blow_it_up(digits: DataSet) -> None:
    """Without normalisation too: the identity at the start keeps the scale at any depth."""
    config = TrialConfig(
        model=ModelConfig(family="resnet", latent_dim=10, likelihood="bernoulli"),
        train=TrainConfig(epochs=2, batch_size=64, learning_rate=1e-2),
    )
    results = list(Trainer([config], digits))
    assert all(isinstance(result, EpochResult) for result in results)
