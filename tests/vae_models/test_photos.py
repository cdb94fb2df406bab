"""Patches of scikit-learn's photographs: where they are cut, and that no pixel is in both splits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from vae_models.data import DataConfig, DataSet, load_data
from vae_models.errors import ConfigError, DataError
from vae_models.photos import HELDOUT_BANDS, STRIDE

NAMES = ("china.jpg", "flower.jpg")


def _load(**settings: Any) -> DataSet:
    return load_data(DataConfig(name="photos", **{"colour": True, **settings}))


def _grid(part: np.ndarray, side: int) -> list[bytes]:
    rows, columns = (range(0, length - side + 1, STRIDE) for length in part.shape[:2])
    return [
        part[y : y + side, x : x + side].transpose(2, 0, 1).tobytes()
        for y in rows
        for x in columns
    ]


def _bytes(split: Any) -> list[bytes]:
    return sorted(image.tobytes() for image in split.numpy())


def _give_photographs(
    monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray], names: tuple[str, ...] = NAMES
) -> None:
    bunch = SimpleNamespace(images=images, filenames=[f"/somewhere/{name}" for name in names])
    monkeypatch.setattr(sklearn.datasets, "load_sample_images", lambda: bunch)


@pytest.mark.parametrize("side", [8, 20, 32, 64])
def test_the_patches_are_those_of_a_grid_beside_and_within_the_bands(side: int) -> None:
    data = _load(image_size=side)
    train, heldout = [], []
    for name, (start, end) in HELDOUT_BANDS.items():
        photo = sklearn.datasets.load_sample_image(name)
        train += _grid(photo[:, :start], side) + _grid(photo[:, end:], side)
        heldout += _grid(photo[:, start:end], side)
    assert _bytes(data.train) == sorted(train)
    assert _bytes(data.heldout) == sorted(heldout)


@pytest.mark.parametrize("side", [8, 31, 64])
def test_no_pixel_is_in_both_splits(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """Photographs that are white where patches are held out and black elsewhere show it."""
    marked = [np.zeros((427, 640, 3), np.uint8) for _ in NAMES]
    for photo, (start, end) in zip(marked, HELDOUT_BANDS.values(), strict=True):
        photo[:, start:end] = 255
    _give_photographs(monkeypatch, marked)
    data = _load(image_size=side)
    assert data.train.max() == 0
    assert data.heldout.min() == 255


def test_the_default_is_about_2000_and_400_patches_of_32_pixels() -> None:
    data = _load()
    assert data.image_shape == (3, 32, 32)
    assert (len(data.train), len(data.heldout)) == (1943, 406)


def test_pixels_are_bytes_and_come_out_from_0_to_1() -> None:
    data = _load()
    assert str(data.train.dtype) == "torch.uint8"
    assert np.allclose(data.heldout_images().numpy() * 255, data.heldout.numpy())
    assert data.heldout_images().max() <= 1
    assert data.peak == 1


def test_without_colour_a_patch_is_the_luma_of_the_coloured_one() -> None:
    colour, grey = _load(), _load(colour=False)
    assert grey.image_shape == (1, 32, 32)
    for image, wanted in zip(grey.train[:50].numpy(), colour.train[:50].numpy(), strict=True):
        luma = Image.fromarray(wanted.transpose(1, 2, 0)).convert("L")
        assert np.array_equal(image[0], np.asarray(luma))


def test_the_splits_are_alike() -> None:
    """What the principal components of the one leave unexplained of the other is as much."""
    data = _load()
    train, heldout = (
        split[:, :, ::4, ::4].flatten(1).double().numpy() for split in (data.train, data.heldout)
    )
    mean = train.mean(axis=0)
    _, components = np.linalg.eigh(np.cov(train.T))
    for count in (0, 4, 16):
        rest = components[:, : len(mean) - count]
        own, other = (np.square((x - mean) @ rest).sum(1).mean() for x in (train, heldout))
        assert 0.85 < other / own < 1.2


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    first, again, other = _load(seed=1), _load(seed=1), _load(seed=2)
    assert first.checksum == again.checksum != other.checksum
    assert _bytes(first.train) == _bytes(other.train)
    assert _bytes(first.heldout) == _bytes(other.heldout)


def test_limits_take_the_first_patches_which_are_of_both_photographs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, part = _load(), _load(train_limit=40, heldout_limit=30)
    assert np.array_equal(part.train, whole.train[:40])
    assert np.array_equal(part.heldout, whole.heldout[:30])
    _give_photographs(monkeypatch, [np.full((427, 640, 3), level, np.uint8) for level in (0, 255)])
    limited = _load(train_limit=40, heldout_limit=30)
    for split in (limited.train, limited.heldout):
        assert 0.2 < split.double().mean() / 255 < 0.8


@pytest.mark.parametrize("binarisation", ["dynamic", "static", "threshold"])
def test_patches_can_be_binarised(binarisation: str) -> None:
    assert _load(binarisation=binarisation).binary


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 7}, r"`8 <= image_size <= 64` .* got image_size=7"),
        ({"image_size": 65}, r"`8 <= image_size <= 64` .* got image_size=65"),
        ({"heldout_fraction": 0.5}, r"`heldout_fraction` must be left out .* split of its own"),
        ({"root": "images"}, r"`root` must be left out for data set 'photos'"),
        ({"colour": 1}, r"`colour` must be true or false, but got colour=1"),
    ],
)
def test_a_setting_that_no_patches_can_have_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(name="photos", **settings)


def test_equal_patches_have_equal_configurations() -> None:
    assert DataConfig(name="Photos") == DataConfig(name="photos", image_size=32, colour=False)


class TestMissingPhotographs:
    def test_are_named_in_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _give_photographs(monkeypatch, [np.zeros((427, 640, 3), np.uint8)], NAMES[:1])
        with pytest.raises(
            DataError, match=r"china\.jpg with flower\.jpg amiss; install"
        ) as caught:
            _load()
        assert "\n" not in str(caught.value)

    def test_of_another_size_are_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _give_photographs(monkeypatch, [np.zeros((100, 640, 3), np.uint8)] * 2)
        with pytest.raises(DataError, match=r"with china\.jpg, flower\.jpg amiss"):
            _load()

    def test_tell_what_the_system_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            Path("/nowhere/images").read_bytes()

        monkeypatch.setattr(sklearn.datasets, "load_sample_images", fail)
        with pytest.raises(DataError, match=r"'photos', but got .*No such file.*; install"):
            _load()
