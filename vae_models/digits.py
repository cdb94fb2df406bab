"""Scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels and 17 levels."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_models.data_config import DataConfig
from vae_models.splits import Splits, split_images

__all__ = ["load"]

_TOP_LEVEL = 16


def load(config: DataConfig) -> Splits:
    """The digits in a seeded split; they ship with scikit-learn, so that no file is needed.

    Reference: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (1998),
    https://archive.ics.uci.edu/dataset/80 (its test part).
    """
    train, heldout = split_images(_levels(), config.heldout_fraction, config.seed)
    return Splits(train=train, heldout=heldout, scale=1 / _TOP_LEVEL)


def _levels() -> NDArray[np.uint8]:
    """The grey levels [n, 1, 8, 8], from scikit-learn's file: to import it takes longer than many a trial."""
    found = find_spec("sklearn")
    places = [] if found is None else found.submodule_search_locations or []
    for place in places:
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
            return rows[:, :-1].reshape(-1, 1, 8, 8)
    from sklearn.datasets import load_digits  # it may have moved in a later version

    levels: NDArray[np.uint8] = load_digits().images.astype(np.uint8)[:, None]
    return levels
