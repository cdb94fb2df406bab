"""The mutual information gap against scikit-learn, permutations, and a channel in closed form."""

import math

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from vae_models.mutual_information_gap import bins_of, informativeness, mutual_information_gap

RANDOM = np.random.default_rng(0)


def _related(count: int, values: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels that tell something of the values."""
    factor = RANDOM.integers(values, size=count)
    return (factor + RANDOM.integers(values, size=count)) * labels // (2 * values), factor


@pytest.mark.parametrize(
    ("count", "values", "labels"), [(50, 5, 4), (300, 20, 10), (1000, 40, 20)]
)
def test_what_a_latent_tells_is_scikit_learns_information_less_that_of_shuffled_pairs(
    count: int, values: int, labels: int
) -> None:
    latent, factor = _related(count, values, labels)
    shuffled = [mutual_info_score(RANDOM.permutation(latent), factor) for _ in range(1000)]
    chance, entropy = np.mean(shuffled), mutual_info_score(factor, factor)
    wanted = (mutual_info_score(latent, factor) - chance) / (entropy - chance)
    assert 0.05 < wanted < 0.95
    assert informativeness(latent, factor) == pytest.approx(wanted, abs=0.003)


def test_it_is_the_adjusted_mutual_information_where_the_factor_has_the_larger_entropy() -> None:
    latent, factor = _related(500, 12, 6)
    wanted = adjusted_mutual_info_score(factor, latent, average_method="max")
    assert informativeness(latent, factor) == pytest.approx(wanted, rel=1e-9)


def test_of_many_examples_it_is_the_information_of_the_channel() -> None:
    """A fair bit that is read wrongly with probability e tells ln 2 - H(e) of it."""
    factor = RANDOM.integers(2, size=100_000)
    wrong = RANDOM.random(len(factor)) < 0.1
    lost = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    found = informativeness(factor ^ wrong, factor)
    assert found == pytest.approx(1 - lost / math.log(2), abs=0.01)


def test_of_many_examples_the_gap_is_that_of_the_plain_definition() -> None:
    factors = RANDOM.integers((4, 6), size=(20_000, 2))
    mixed = factors @ np.array([[1.0, 0.3], [0.2, 0.8]]) + RANDOM.normal(size=(20_000, 2))
    gaps = []
    for factor in factors.T:
        told = sorted(mutual_info_score(bins_of(latent, 20), factor) for latent in mixed.T)
        gaps.append((told[-1] - told[-2]) / mutual_info_score(factor, factor))
    assert mutual_information_gap(mixed, factors, (4, 6)) == pytest.approx(np.mean(gaps), abs=1e-3)


def test_labels_that_say_everything_or_nothing_score_one_and_zero_exactly() -> None:
    factor = np.repeat(np.arange(40), 5)
    assert informativeness(factor[::-1] * 7, factor) == pytest.approx(1, abs=1e-12)
    assert informativeness(np.zeros(200, np.int64), factor) == 0
    assert informativeness(np.tile(np.arange(5), 40), factor) == 0


def test_where_every_pair_is_unique_nothing_can_be_told_from_chance() -> None:
    assert informativeness(np.arange(30), np.arange(30)) == 0


def test_bins_have_equal_width_and_hold_both_ends() -> None:
    latent = np.array([-2.0, -1.01, -0.99, 0.0, 1.99, 2.0])
    assert bins_of(latent, 4).tolist() == [0, 0, 1, 2, 3, 3]
    assert bins_of(np.full(3, 0.7), 4).tolist() == [0, 0, 0]


@pytest.mark.parametrize("values", [2, 3, 7, 20, 21, 32, 40, 300])
def test_evenly_spaced_values_fall_into_bins_of_their_own(values: int) -> None:
    """So that a factor of more values than 20 can be told completely."""
    latent = np.linspace(-3, 0.7, values)
    assert len(np.unique(bins_of(latent, max(20, values)))) == values


def test_a_latent_that_tells_all_scores_one_however_many_values_the_factor_takes() -> None:
    factors = RANDOM.integers((2, 100), size=(5000, 2))
    assert mutual_information_gap(factors / -3, factors, (2, 100)) == pytest.approx(1, abs=0.01)
