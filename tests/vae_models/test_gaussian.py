"""Gaussian data against the covariance that they are drawn from."""

import math

import numpy as np
import pytest

from vae_models.data import DataConfig, DataSet, load_data
from vae_models.gaussian import haar_rotation

SPECTRUM = (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05)
COUNT = 20_000


def _data(*, rotate: bool = True, seed: int = 0) -> DataSet:
    config = DataConfig(
        name="gaussian", spectrum=SPECTRUM, rotate=rotate, seed=seed, train_size=COUNT
    )
    return load_data(config)


@pytest.mark.parametrize("rotate", [True, False])
def test_the_sample_spectrum_is_the_wanted_one_within_its_error(*, rotate: bool) -> None:
    spectrum = _data(rotate=rotate).spectrum
    five_sigma = 5 * math.sqrt(2 / COUNT) * np.array(SPECTRUM)
    assert np.all(np.abs(spectrum - SPECTRUM) < five_sigma)


def test_both_splits_are_white_in_the_eigenbasis() -> None:
    data = _data()
    whiten = haar_rotation(len(SPECTRUM), seed=0) / np.sqrt(SPECTRUM)
    for split in (data.train, data.heldout):
        white = split.reshape(len(split), -1).double().numpy() @ whiten
        error = white.T @ white / len(white) - np.eye(len(SPECTRUM))
        assert np.abs(error).max() < 6 * math.sqrt(2 / len(white))
        assert np.abs(white.mean(axis=0)).max() < 6 / math.sqrt(len(white))


def test_without_rotation_pixel_i_has_variance_i() -> None:
    variances = _data(rotate=False).train.double().var(dim=0).flatten().numpy()
    assert variances == pytest.approx(SPECTRUM, rel=5 * math.sqrt(2 / COUNT))


def test_rotations_are_orthogonal_and_uniform() -> None:
    """Uniform: the squared first entry has mean 1/N, and both orientations occur equally often."""
    rotations = [haar_rotation(4, seed) for seed in range(2000)]
    for rotation in rotations[:20]:
        assert rotation @ rotation.T == pytest.approx(np.eye(4), abs=1e-12)
    corners = np.array([rotation[0, 0] for rotation in rotations])
    assert np.mean(corners**2) == pytest.approx(1 / 4, abs=0.025)
    assert np.mean(corners) == pytest.approx(0, abs=0.06)
    assert np.mean([np.linalg.det(rotation) > 0 for rotation in rotations]) == pytest.approx(
        0.5, abs=0.06
    )


def test_examples_are_rows_of_float32_in_model_units_without_a_peak() -> None:
    data = _data()
    assert data.image_shape == (1, 1, len(SPECTRUM))
    assert str(data.train.dtype) == "torch.float32"
    assert (data.scale, data.peak, data.zero_rate_bernoulli_nats) == (1.0, None, None)
    assert len(data.heldout) == 10_000
    assert data.mean_se == pytest.approx(sum(SPECTRUM), rel=0.05)


def test_examples_lie_on_a_grid_that_hides_the_last_bits_of_linear_algebra() -> None:
    """Other libraries round otherwise; on the grid their checksums agree."""
    steps = _data().train.double().numpy() * 2.0**20 / 2  # the largest deviation is in [2, 4)
    assert np.array_equal(steps, np.round(steps))


def test_the_splits_share_no_example_and_the_seed_decides_both() -> None:
    first, other = _data(), _data(seed=1)
    assert not np.isin(first.heldout[:, 0, 0, 0], first.train[:, 0, 0, 0]).all()
    assert first.checksum == _data().checksum
    assert first.checksum != other.checksum


def test_a_dimension_without_variance_stays_empty_without_rotation() -> None:
    data = load_data(
        DataConfig(
            name="gaussian", spectrum=(1.0, 0.0), rotate=False, train_size=9, heldout_size=3
        )
    )
    assert not data.train[..., 1].any()
    assert data.spectrum[1] == pytest.approx(0, abs=1e-12)
