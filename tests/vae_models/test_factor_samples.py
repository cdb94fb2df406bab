"""Sets of examples that share a factor's value, and the FactorVAE vote against plain loops."""

import numpy as np
import pytest

from vae_models.factor_samples import FactorSamples, sampled_factors, varied_factors
from vae_models.factorvae_score import factorvae_score

FACTORS = np.random.default_rng(0).integers((3, 6, 40), size=(120, 3))


def _draw(factors: np.ndarray, sets: int, size: int, seed: int = 1) -> FactorSamples:
    generator = np.random.default_rng(seed)
    return FactorSamples.draw(factors, sets=sets, size=size, generator=generator)


def test_all_examples_of_a_set_share_the_value_of_the_fixed_factor() -> None:
    samples = _draw(FACTORS, 200, 10)
    for fixed, first, second in zip(samples.fixed, samples.first, samples.second, strict=True):
        assert len(np.unique(FACTORS[np.concatenate([first, second]), fixed])) == 1


def test_the_partner_of_an_example_is_another_example() -> None:
    samples = _draw(FACTORS, 200, 50)
    assert (samples.first != samples.second).all()


def test_every_example_and_every_other_of_its_group_are_drawn_alike() -> None:
    factors = np.array([[0], [0], [0], [0], [1], [1]])
    samples = _draw(factors, 3000, 20)
    pairs = np.zeros((6, 6))
    np.add.at(pairs, (samples.first, samples.second), 1)
    pairs /= pairs.sum()
    wanted = np.zeros((6, 6))
    wanted[:4, :4] = 4 / 6 / 12 * (1 - np.eye(4))
    wanted[4:, 4:] = 2 / 6 / 2 * (1 - np.eye(2))
    assert pairs == pytest.approx(wanted, abs=0.015)


def test_every_factor_is_fixed_as_often() -> None:
    shares = np.bincount(_draw(FACTORS, 9000, 1).fixed) / 9000
    assert shares == pytest.approx(np.full(3, 1 / 3), abs=0.02)


def test_a_value_of_a_single_example_is_never_fixed() -> None:
    factors = np.array([[0], [0], [1], [2], [2]])
    assert 2 not in _draw(factors, 500, 3).first


def test_which_factors_vary_and_which_of_them_can_be_held_fixed() -> None:
    factors = np.array([[0, 5, 0], [0, 5, 1], [1, 5, 2]])
    assert varied_factors(factors) == [0, 2]
    assert sampled_factors(factors) == [0]
    assert varied_factors(factors[:0]) == []


@pytest.mark.parametrize("latents", [1, 7])
def test_a_statistic_of_the_sets_is_what_a_loop_over_them_gives(latents: int) -> None:
    codes = np.random.default_rng(2).normal(size=(120, latents))
    samples = _draw(FACTORS, 5000, 64)
    found = samples.describe(codes, lambda first, second: (first * second).mean(axis=1))
    for row in (0, 2500, 4999):
        pairs = zip(samples.first[row], samples.second[row], strict=True)
        wanted = np.mean([codes[i] * codes[j] for i, j in pairs], axis=0)
        assert found[row] == pytest.approx(wanted)


def test_the_factor_vae_score_is_what_plain_loops_over_the_votes_give() -> None:
    codes = [np.random.default_rng(seed).normal(size=(120, 4)) for seed in (3, 4)]
    samples = [_draw(FACTORS, 150, 8, seed) for seed in (5, 6)]
    won = [
        [
            int(np.argmin([np.var([z[i, j] for i in row]) for j in range(4)]))
            for row in sample.first
        ]
        for z, sample in zip(codes, samples, strict=True)
    ]
    majority = {}
    for latent in range(4):
        fixed = [k for k, j in zip(samples[0].fixed, won[0], strict=True) if j == latent]
        majority[latent] = max(range(3), key=lambda k: fixed.count(k))
    told = [majority[j] == k for k, j in zip(samples[1].fixed, won[1], strict=True)]
    assert factorvae_score(codes, samples) == pytest.approx(np.mean(told))


def test_a_collapsed_latent_never_wins_a_vote() -> None:
    """Its variance of zero would be the least in every set."""
    factors = FACTORS[:, :2]
    told = factors / factors.std(axis=0)
    with_zeros = np.insert(told, 0, 0, axis=1)
    samples = [_draw(factors, 150, 30, seed) for seed in (5, 6)]
    assert factorvae_score([with_zeros] * 2, samples) == 1
    assert factorvae_score([told] * 2, samples) == 1
