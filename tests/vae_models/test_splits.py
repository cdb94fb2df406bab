"""Splitting and its random streams."""

import numpy as np
import pytest

from vae_models.splits import generator_of, split_images


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("count", [2, 3, 50])
def test_each_image_lands_in_one_split_and_no_split_is_empty(count: int, fraction: float) -> None:
    train, heldout = split_images(np.arange(count), fraction, seed=0)
    assert sorted([*train, *heldout]) == list(range(count))
    assert min(len(train), len(heldout)) >= 1


def test_each_seed_and_each_purpose_has_its_own_stream() -> None:
    firsts = [generator_of(*key).random() for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a")]]
    assert firsts[0] == firsts[3]
    assert len(set(firsts)) == 3
