"""None, dynamic, static and threshold: what each makes of the digits."""

import numpy as np
import pytest
import torch

from vae_models.binarisation import draw_once
from vae_models.data import DataConfig, DataSet, load_data


def _digits(binarisation: str, **settings: int) -> DataSet:
    return load_data(DataConfig(name="digits", binarisation=binarisation, **settings))  # type: ignore[arg-type]


def test_dynamic_draws_are_new_each_time_and_have_the_grey_values_as_means() -> None:
    data = _digits("dynamic")
    indices = torch.arange(20)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([data.batch(indices, generator) for _ in range(2000)])
    grey = data.train[:20].float() / 16
    assert set(np.unique(draws.numpy())) == {0.0, 1.0}
    assert not torch.equal(draws[0], draws[1])
    sigma = (grey * (1 - grey) / len(draws)).sqrt()
    assert torch.all((draws.mean(dim=0) - grey).abs() <= 5.5 * sigma)


def test_dynamic_draws_repeat_with_the_generator_and_leave_the_global_one_alone() -> None:
    data = _digits("dynamic")
    indices = torch.arange(50)
    before = torch.get_rng_state()
    one, two = (data.batch(indices, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_dynamic_heldout_images_are_drawn_once_with_the_seed_of_the_data() -> None:
    data = _digits("dynamic")
    images = data.heldout_images()
    assert torch.equal(images, data.heldout_images())
    assert torch.equal(images, _digits("dynamic").heldout_images())
    assert set(np.unique(images.numpy())) == {0.0, 1.0}
    grey = data.heldout.float().mean() / 16
    assert images.mean().item() == pytest.approx(grey.item(), abs=0.015)


def test_static_is_drawn_once_for_all_and_follows_the_seed() -> None:
    data, grey = _digits("static"), _digits("none")
    indices = torch.arange(len(data.train))
    assert torch.equal(data.batch(indices), data.batch(indices))
    assert torch.equal(data.train, _digits("static").train)
    assert set(np.unique(data.train.numpy())) == {0, 1}
    error = (data.train.double() - grey.train.double() / 16).mean(dim=0)
    assert error.abs().max() < 5 * 0.5 / np.sqrt(len(data.train))
    assert not torch.equal(data.train, _digits("static", seed=1).train)


def test_a_limit_does_not_change_the_static_draws_of_the_images_before_it() -> None:
    assert torch.equal(_digits("static", train_limit=100).train, _digits("static").train[:100])


def test_threshold_sets_pixels_above_one_half() -> None:
    data, grey = _digits("threshold"), _digits("none")
    assert torch.equal(data.train, (grey.train > 8).to(torch.uint8))
    assert data.scale == 1.0


def test_black_never_comes_out_white_nor_white_black() -> None:
    levels = np.zeros((5000, 1, 1, 2), np.uint8)
    levels[..., 1] = 255
    drawn = draw_once(levels, 1 / 255, 0, "a test")
    assert not drawn[..., 0].any()
    assert drawn[..., 1].all()


@pytest.mark.parametrize("level", [1, 128, 254])
def test_a_byte_is_drawn_white_with_its_share_of_255(level: int) -> None:
    levels = np.full((1000, 1, 20, 20), level, np.uint8)
    p = level / 255
    sigma = np.sqrt(p * (1 - p) / levels.size)
    assert draw_once(levels, 1 / 255, 0, "a test").mean() == pytest.approx(p, abs=5 * sigma)
