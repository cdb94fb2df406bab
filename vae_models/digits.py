"""Scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels and 17 levels."""

import numpy as np
from sklearn.datasets import load_digits

from vae_models.data_config import DataConfig
from vae_models.splits import Splits, split_images

__all__ = ["load"]

_TOP_LEVEL = 16


def load(config: DataConfig) -> Splits:
    """The digits in a seeded split; they ship with scikit-learn, so that no file is needed.

    Reference: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (1998),
    https://archive.ics.uci.edu/dataset/80 (its test part).
    """
    levels = load_digits().images.astype(np.uint8)[:, None]
    train, heldout = split_images(levels, config.heldout_fraction, config.seed)
    return Splits(train=train, heldout=heldout, scale=1 / _TOP_LEVEL)
