"""Scikit-learn's digits, split by a seed."""

import subprocess
import sys

import numpy as np
from sklearn.datasets import load_digits

from vae_models.data import DataConfig, load_data


def _rows(*splits: np.ndarray) -> np.ndarray:
    rows = np.concatenate([split.reshape(len(split), -1) for split in splits])
    return rows[np.lexsort(rows.T)]


def test_both_splits_together_are_the_1797_digits_of_scikit_learn() -> None:
    data = load_data(DataConfig(name="digits"))
    ours = _rows(data.train.numpy(), data.heldout.numpy())
    assert np.array_equal(ours, _rows(load_digits().data.astype(np.uint8)))
    assert len(data.heldout) == round(1797 / 6)


def test_a_digit_in_model_units_is_a_sixteenth_of_its_level() -> None:
    data = load_data(DataConfig(name="digits"))
    assert data.image_shape == (1, 8, 8)
    assert data.pixels == 64
    assert data.peak == 1.0
    assert np.array_equal(data.heldout_images().numpy() * 16, data.heldout.numpy())
    assert data.heldout_images().max() == 1


def test_the_seed_decides_the_split_and_the_fraction_its_size() -> None:
    first = load_data(DataConfig(name="digits", seed=1))
    again = load_data(DataConfig(name="digits", seed=1))
    other = load_data(DataConfig(name="digits", seed=2))
    half = load_data(DataConfig(name="digits", heldout_fraction=0.5))
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)
    assert len(half.heldout) == 898


def test_scikit_learn_is_not_imported_for_them() -> None:
    """It takes longer than many a trial, in every worker."""
    code = (
        "import sys; from vae_models.data import DataConfig, load_data; "
        "load_data(DataConfig(name='digits')); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=200).returncode == 0
