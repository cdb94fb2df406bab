"""The face of a data set: limits, devices, checksum, and the numbers that a study records."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from vae_models.data import DataConfig, DataSet, load_data


def _load(**settings: Any) -> DataSet:
    return load_data(DataConfig(name="digits", **settings))


def test_limits_take_the_first_examples() -> None:
    whole, part = _load(), _load(train_limit=100, heldout_limit=50)
    assert torch.equal(part.train, whole.train[:100])
    assert torch.equal(part.heldout, whole.heldout[:50])
    assert len(_load(train_limit=10**6).train) == len(whole.train)


def test_a_batch_is_the_indexed_examples_in_model_units() -> None:
    data = _load()
    indices = torch.tensor([5, 3, 5])
    batch = data.batch(indices, torch.Generator())
    assert batch.dtype == torch.float32
    assert batch.shape == (3, 1, 8, 8)
    assert torch.equal(batch * 16, data.train[indices].float())


def test_the_checksum_is_the_same_for_the_same_data_and_differs_with_anything_that_changes_it() -> (
    None
):
    variants: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"heldout_fraction": 0.3},
        {"train_limit": 1000},
        {"heldout_limit": 100},
        {"binarisation": "static"},
        {"binarisation": "static", "seed": 1},
        {"binarisation": "dynamic"},
        {"binarisation": "threshold"},
    ]
    checksums = [_load(**settings).checksum for settings in variants]
    assert len(set(checksums)) == len(variants)
    assert checksums == [_load(**settings).checksum for settings in variants]
    assert len(checksums[0]) == 64


def test_the_seed_of_a_dynamic_binarisation_is_part_of_the_checksum() -> None:
    """It draws the held-out images, also where the split does not depend on it."""
    data = _load(binarisation="dynamic")
    assert dataclasses.replace(data, seed=1).checksum != data.checksum
    grey = _load()
    assert dataclasses.replace(grey, seed=1).checksum == grey.checksum


@pytest.mark.parametrize("field", ["train", "heldout"])
def test_one_changed_pixel_changes_the_checksum(field: str) -> None:
    data = _load()
    changed = getattr(data, field).clone()
    changed[7, 0, 3, 3] += 1
    assert dataclasses.replace(data, **{field: changed}).checksum != data.checksum


def test_the_checksum_knows_shapes_and_the_border_of_the_splits() -> None:
    data = _load()
    wide = dataclasses.replace(
        data, train=data.train.reshape(-1, 1, 4, 16), heldout=data.heldout.reshape(-1, 1, 4, 16)
    )
    moved = dataclasses.replace(
        data, train=data.train[:-1], heldout=torch.cat([data.train[-1:], data.heldout])
    )
    assert len({data.checksum, wide.checksum, moved.checksum}) == 3


@pytest.mark.parametrize(
    ("settings", "checksum"),
    [
        ({"name": "digits"}, "28a956e668f7d5a3"),
        (
            {"name": "digits", "binarisation": "static"},
            "8c55f302af380d39",
        ),
        (
            {"name": "sprites", "image_size": 32, "train_size": 500},
            "2a2b347ce2f6cb67",
        ),
        (
            {"name": "gaussian", "spectrum": (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05)},
            "4189b355af3c57ed",
        ),
    ],
)
def test_checksums_of_earlier_studies_still_hold(settings: dict[str, Any], checksum: str) -> None:
    """Recorded in November 2026; on another machine too the data are the same to the last bit."""
    assert load_data(DataConfig(**settings)).checksum.startswith(checksum)


def test_the_spectrum_is_that_of_the_training_split_in_model_units() -> None:
    data = _load()
    rows = data.train.reshape(len(data.train), -1).double().numpy() / 16
    expected = np.linalg.eigvalsh(np.cov(rows.T, ddof=0))[::-1]
    assert data.spectrum == pytest.approx(expected, abs=1e-12)
    assert data.spectrum.sum() == pytest.approx(rows.var(axis=0).sum())


def test_the_spectrum_of_dynamic_data_is_that_of_what_batches_hold() -> None:
    data = _load(binarisation="dynamic")
    generator = torch.Generator().manual_seed(0)
    everything = torch.arange(len(data.train))
    draws = torch.cat([data.batch(everything, generator) for _ in range(60)]).flatten(1).double()
    drawn = np.linalg.eigvalsh(np.cov(draws.numpy().T, ddof=0))[::-1]
    assert data.spectrum == pytest.approx(drawn, abs=0.02)


@pytest.mark.parametrize("binarisation", ["none", "dynamic", "static"])
def test_the_distortions_of_rate_zero_are_those_of_the_heldout_images(binarisation: str) -> None:
    data = _load(binarisation=binarisation)
    images = data.heldout_images().double().flatten(1)
    everything = data.train.double().flatten(1) * data.scale
    mean = everything.mean(dim=0)
    assert data.mean_se == pytest.approx(((images - mean) ** 2).sum(dim=1).mean().item())
    p = mean.clamp(0.5 / len(data.train), 1 - 0.5 / len(data.train))
    bce = torch.nn.functional.binary_cross_entropy(p.expand_as(images), images, reduction="sum")
    assert data.zero_rate_bernoulli_nats == pytest.approx(bce.item() / len(images))


def test_moving_to_a_device_keeps_everything_that_is_recorded() -> None:
    data = _load(binarisation="dynamic")
    moved = data.to("cpu")
    assert moved.checksum == data.checksum
    assert torch.equal(moved.heldout_images(), data.heldout_images())


@pytest.mark.gpu
def test_batches_on_a_gpu_are_made_there_and_heldout_images_equal_those_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    data = _load(binarisation="dynamic")
    moved = data.to("cuda")
    indices = torch.arange(10, device="cuda")
    assert moved.batch(indices, torch.Generator("cuda")).device.type == "cuda"
    assert torch.equal(moved.heldout_images().cpu(), data.heldout_images())
    assert moved.checksum == data.checksum


def test_a_data_set_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="scale"):
        _load().scale = 2.0  # type: ignore[misc]
