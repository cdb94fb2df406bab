"""Disentanglement, completeness and informativeness of given importances and of known codes."""

import numpy as np
import pytest
from scipy.stats import entropy

from vae_models.dci import completeness, dci, disentanglement

RANDOM = np.random.default_rng(0)


def test_a_latent_for_each_factor_scores_one_in_both() -> None:
    importance = np.diag([1.0, 1.0, 1.0])[[2, 0, 1]]
    assert disentanglement(importance) == pytest.approx(1)
    assert completeness(importance) == pytest.approx(1)


def test_equal_importances_score_zero_in_both() -> None:
    assert disentanglement(np.full((4, 3), 0.25)) == pytest.approx(0)
    assert completeness(np.full((4, 3), 0.25)) == pytest.approx(0)


def test_a_factor_spread_over_pure_latents_is_incomplete_but_disentangled() -> None:
    importance = np.array([[0.5, 0], [0.5, 0], [0, 1.0]])
    assert disentanglement(importance) == pytest.approx(1)
    assert completeness(importance) == pytest.approx((1 - np.log(2) / np.log(3) + 1) / 2)


def test_one_latent_for_all_factors_is_complete_but_entangled() -> None:
    importance = np.array([[1.0, 1.0], [0, 0]])
    assert disentanglement(importance) == pytest.approx(0)
    assert completeness(importance) == pytest.approx(1)


def test_both_are_the_weighted_entropies_of_the_paper() -> None:
    importance = RANDOM.random((5, 3))
    of_latents = [1 - entropy(row, base=3) for row in importance]
    of_factors = [1 - entropy(column, base=5) for column in importance.T]
    wanted = np.average(of_latents, weights=importance.sum(axis=1))
    assert disentanglement(importance) == pytest.approx(wanted)
    wanted = np.average(of_factors, weights=importance.sum(axis=0))
    assert completeness(importance) == pytest.approx(wanted)


def test_unused_latents_do_not_count() -> None:
    importance = RANDOM.random((5, 3))
    wider = np.concatenate([importance, np.zeros((2, 3))])
    assert disentanglement(wider) == pytest.approx(disentanglement(importance))


def test_no_importance_at_all_is_no_disentanglement() -> None:
    assert disentanglement(np.zeros((4, 3))) == 0
    assert completeness(np.zeros((4, 3))) == 0


def test_of_a_single_factor_or_latent_there_is_nothing_to_measure() -> None:
    assert disentanglement(np.ones((4, 1))) is None
    assert completeness(np.ones((1, 3))) is None


def test_informativeness_is_the_accuracy_that_the_best_classifier_can_have() -> None:
    """A bit that is read wrongly with probability 0.2 is told with an accuracy of 0.8."""
    factors = RANDOM.integers(2, size=(8000, 2))
    wrong = RANDOM.random(8000) < 0.2
    codes = np.stack([factors[:, 0], factors[:, 1] ^ wrong], axis=1).astype(float)
    halves = [codes[:4000], codes[4000:]], [factors[:4000], factors[4000:]]
    found = dci(*halves, generator=np.random.default_rng(1))
    assert found.informativeness == pytest.approx((1 + 0.8) / 2, abs=0.02)


def test_informativeness_is_measured_on_other_examples() -> None:
    """Trees fit what they learned from, noise included: here they would score near one."""
    factors, codes = RANDOM.integers(10, size=(1000, 1)), RANDOM.normal(size=(1000, 5))
    halves = [codes[:500], codes[500:]], [factors[:500], factors[500:]]
    found = dci(*halves, generator=np.random.default_rng(1))
    assert found.informativeness == pytest.approx(0.1, abs=0.05)
