"""Disentanglement scores by their defining properties: perfect, scattered and meaningless codes."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.disentanglement import COLLAPSED_VARIANCE, DisentanglementScores, scores
from vae_models.errors import DataError, NonFiniteError
from vae_models.unit_activity import ACTIVE_VARIANCE

Codes = NDArray[np.float64]
Classes = NDArray[np.int64]

SIZES = (3, 6, 40, 32, 32)
SMALL_SIZES = (3, 4, 5)
NAMES = [field.name for field in dataclasses.fields(DisentanglementScores)]


def _factors(count: int, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> Classes:
    return np.random.default_rng(seed).integers(sizes, size=(count, len(sizes)))


def _noise(count: int, latents: int, seed: int = 1) -> Codes:
    return np.random.default_rng(seed).normal(size=(count, latents))


def _standardised(factors: Classes) -> Codes:
    values: Codes = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    return values


def _rotation(size: int, seed: int = 2) -> Codes:
    rotation, _ = np.linalg.qr(_noise(size, size, seed))
    return rotation


def _perfect(factors: Classes, spare: int, seed: int = 3) -> Codes:
    """One latent per factor, rescaled, moved and some turned round; spare ones; all shuffled."""
    generator = np.random.default_rng(seed)
    count = factors.shape[1]
    signs = np.where(np.arange(count) % 2, -1, 1)
    scales, offsets = generator.uniform(0.3, 3, count), generator.normal(size=count)
    told = _standardised(factors) * signs * scales + offsets
    columns = np.concatenate([told, generator.normal(size=(len(factors), spare))], axis=1)
    return columns[:, generator.permutation(columns.shape[1])]


def _known(value: float | None) -> float:
    assert value is not None
    return value


class TestAPerfectCode:
    def test_scores_one_on_the_heldout_sprites(self) -> None:
        """Also beside eleven latents of noise; what is estimated from 1000 examples comes near."""
        known = load_data(DataConfig(name="sprites", image_size=16)).factors
        assert known is not None
        found = scores(_perfect(known.heldout, 11), known.heldout, known.sizes, seed=0)
        assert _known(found.mig) > 0.98
        assert _known(found.dci_disentanglement) > 0.99
        assert _known(found.dci_completeness) > 0.99
        assert _known(found.dci_informativeness) > 0.99
        assert found.factorvae_score == 1
        assert found.betavae_score == 1

    def test_scores_exactly_one_on_the_whole_grid_of_factors(self) -> None:
        grid = np.stack(np.meshgrid(*map(np.arange, SMALL_SIZES)), axis=-1).reshape(-1, 3)
        found = scores(
            _standardised(np.tile(grid, (5, 1))), np.tile(grid, (5, 1)), SMALL_SIZES, seed=0
        )
        assert dataclasses.astuple(found) == pytest.approx((1,) * 6)

    def test_may_map_each_factor_to_any_scale_and_direction(self) -> None:
        factors = _factors(600)
        for seed in range(3):
            found = scores(_perfect(factors, 3, seed), factors, SIZES, seed=0)
            assert min(map(_known, dataclasses.astuple(found))) > 0.95


class TestACodeOfNoise:
    @pytest.mark.parametrize("latents", [2, 16])
    def test_scores_near_chance(self, latents: int) -> None:
        found = scores(_noise(1000, latents), _factors(1000), SIZES, seed=0)
        assert _known(found.mig) < 0.02
        assert _known(found.dci_disentanglement) < 0.05
        assert _known(found.dci_completeness) < 0.05
        assert found.dci_informativeness == pytest.approx(np.mean(1 / np.array(SIZES)), abs=0.03)
        assert found.factorvae_score == pytest.approx(1 / 5, abs=0.06)
        assert found.betavae_score == pytest.approx(1 / 5, abs=0.06)

    def test_scores_near_chance_also_where_few_values_make_few_groups(self) -> None:
        """Three groups of one factor could be told by heart, had their examples been seen."""
        sizes = (2, 3, 40)
        found = scores(_noise(400, 30), _factors(400, sizes), sizes, seed=0)
        assert found.factorvae_score == pytest.approx(1 / 3, abs=0.1)
        assert found.betavae_score == pytest.approx(1 / 3, abs=0.1)


class TestARotatedCode:
    def test_tells_as_much_but_is_not_disentangled(self) -> None:
        """Half a right angle between two factors: both latents tell as much of each of them."""
        factors = _factors(1000, (6, 6))
        turned = _standardised(factors) @ (np.array([[1, 1], [-1, 1]]) / math.sqrt(2))
        found = scores(turned, factors, (6, 6), seed=0)
        assert _known(found.mig) < 0.05
        assert _known(found.dci_disentanglement) < 0.05
        assert _known(found.dci_completeness) < 0.05
        assert _known(found.dci_informativeness) > 0.9

    def test_lies_between_the_perfect_code_and_noise(self) -> None:
        factors = _factors(1000)
        turned = np.concatenate([_standardised(factors), _noise(1000, 3)], axis=1) @ _rotation(8)
        perfect = scores(_perfect(factors, 3), factors, SIZES, seed=0)
        found = scores(turned, factors, SIZES, seed=0)
        noise = scores(_noise(1000, 8), factors, SIZES, seed=0)
        for name in NAMES:
            assert getattr(noise, name) < getattr(found, name) < getattr(perfect, name), name


class TestADuplicatedCode:
    def test_has_no_gap_and_is_incomplete_but_its_latents_stay_pure(self) -> None:
        factors = _factors(1000)
        found = scores(np.repeat(_standardised(factors), 2, axis=1), factors, SIZES, seed=0)
        assert found.mig == 0
        assert _known(found.dci_completeness) < 0.8
        assert _known(found.dci_disentanglement) > 0.95
        assert found.factorvae_score == 1
        assert found.betavae_score == 1


class TestACodeWithoutOneOfTheFactors:
    def test_satisfies_the_beta_vae_score_but_not_that_of_factor_vae(self) -> None:
        """The failure of the former for which Kim & Mnih (2018) made the latter."""
        factors = _factors(1000, SMALL_SIZES)
        found = scores(_standardised(factors)[:, 1:], factors, SMALL_SIZES, seed=0)
        assert _known(found.betavae_score) > 0.98
        assert _known(found.factorvae_score) < 0.9


class TestSymmetries:
    def _code(self) -> tuple[Codes, Classes]:
        factors = _factors(1000)
        return np.concatenate([_standardised(factors), _noise(1000, 3)], axis=1) @ _rotation(
            8
        ), factors

    def test_the_order_of_the_latents_does_not_matter(self) -> None:
        codes, factors = self._code()
        order = np.random.default_rng(5).permutation(8)
        found = scores(codes, factors, SIZES, seed=0)
        shuffled = scores(codes[:, order], factors, SIZES, seed=0)
        assert shuffled.mig == pytest.approx(_known(found.mig), abs=1e-12)
        assert shuffled.factorvae_score == found.factorvae_score
        assert shuffled.betavae_score == pytest.approx(found.betavae_score, abs=0.005)
        for name in ("dci_disentanglement", "dci_completeness", "dci_informativeness"):
            assert getattr(shuffled, name) == pytest.approx(getattr(found, name), abs=0.03), name

    def test_neither_does_the_order_of_the_factors(self) -> None:
        codes, factors = self._code()
        found = scores(codes, factors, SIZES, seed=0)
        shuffled = scores(codes, factors[:, ::-1], SIZES[::-1], seed=0)
        assert dataclasses.astuple(shuffled) == pytest.approx(dataclasses.astuple(found), abs=0.05)
        assert shuffled.mig == pytest.approx(_known(found.mig))

    def test_nor_do_the_scales_of_the_latents(self) -> None:
        codes, factors = self._code()
        found = scores(codes, factors, SIZES, seed=0)
        assert scores(codes * 2.0 ** np.arange(8), factors, SIZES, seed=0) == found

    def test_the_seed_repeats_and_matters(self) -> None:
        codes, factors = self._code()
        first, again, other = (scores(codes, factors, SIZES, seed=seed) for seed in (7, 7, 8))
        assert first == again
        assert first.mig == other.mig
        assert first.factorvae_score != other.factorvae_score
        assert first.dci_disentanglement != other.dci_disentanglement

    def test_single_precision_codes_score_as_double_ones(self) -> None:
        codes, factors = self._code()
        single = codes.astype(np.float32)
        found = scores(single, factors, SIZES, seed=0)
        assert found == scores(single.astype(np.float64), factors, SIZES, seed=0)


class TestCollapsedLatents:
    def test_are_those_that_are_not_active_units(self) -> None:
        assert COLLAPSED_VARIANCE == ACTIVE_VARIANCE

    def test_are_left_out_of_the_votes(self) -> None:
        """Latents that whisper the factors do not count beside others that only shout noise."""
        factors = _factors(1000)
        whisper = 0.05 * _standardised(factors)
        found = scores(np.concatenate([whisper, _noise(1000, 5)], axis=1), factors, SIZES, seed=0)
        assert found.factorvae_score == pytest.approx(1 / 5, abs=0.06)
        assert found.betavae_score == pytest.approx(1 / 5, abs=0.06)
        assert _known(found.mig) > 0.9

    def test_alone_leave_the_votes_at_chance(self) -> None:
        factors = _factors(1000)
        found = scores(1e-4 * _standardised(factors), factors, SIZES, seed=0)
        assert found.factorvae_score == pytest.approx(1 / 5, abs=0.05)
        assert found.betavae_score == pytest.approx(1 / 5, abs=0.05)

    def test_that_are_constant_tell_nothing(self) -> None:
        found = scores(np.full((300, 4), 2.5), _factors(300), SIZES, seed=0)
        assert found.mig == 0
        assert found.dci_disentanglement == 0
        assert found.dci_completeness == 0
        assert _known(found.dci_informativeness) < 0.3

    def test_that_are_constant_do_not_spoil_a_perfect_code(self) -> None:
        factors = _factors(800)
        codes = np.concatenate([_standardised(factors), np.zeros((800, 3))], axis=1)
        found = scores(codes, factors, SIZES, seed=0)
        assert min(map(_known, dataclasses.astuple(found))) > 0.98


def _assert_shares(found: DisentanglementScores) -> None:
    for name in NAMES:
        value = getattr(found, name)
        assert value is None or (type(value) is float and 0 <= value <= 1), name


class TestSmallSamples:
    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 13, 21, 39, 40, 41, 60])
    def test_give_numbers_from_0_to_1_or_nothing(self, count: int) -> None:
        factors = _factors(count)
        _assert_shares(scores(_noise(count, 6), factors, SIZES, seed=0))
        _assert_shares(scores(factors / np.array(SIZES), factors, SIZES, seed=0))

    @pytest.mark.parametrize("count", [0, 1])
    def test_of_less_than_two_examples_have_no_scores(self, count: int) -> None:
        found = scores(_noise(count, 3), _factors(count), SIZES, seed=0)
        assert set(dataclasses.astuple(found)) == {None}

    def test_of_all_different_values_have_no_sets_to_vote(self) -> None:
        factors = np.stack([np.arange(100), np.arange(100)[::-1]], axis=1)
        found = scores(_noise(100, 3), factors, (100, 100), seed=0)
        assert found.factorvae_score is None
        assert found.betavae_score is None
        assert found.mig == 0
        _assert_shares(found)


class TestFewLatentsAndFactors:
    def test_a_single_latent_has_its_gap_to_zero_and_no_completeness(self) -> None:
        factors = _factors(1000, (8, 8))
        found = scores(_standardised(factors)[:, :1], factors, (8, 8), seed=0)
        assert found.mig == pytest.approx(0.5, abs=0.01)
        assert found.dci_completeness is None
        _assert_shares(found)

    def test_a_single_factor_leaves_nothing_to_tell_apart(self) -> None:
        factors = _factors(500, (8,))
        found = scores(_perfect(factors, 2), factors, (8,), seed=0)
        assert _known(found.mig) > 0.98
        assert found.dci_disentanglement is None
        assert _known(found.dci_completeness) > 0.98
        assert found.factorvae_score is None
        assert found.betavae_score is None

    def test_a_factor_of_one_value_is_left_out(self) -> None:
        factors = _factors(500, SMALL_SIZES)
        codes = _perfect(factors, 2)
        fixed = np.insert(factors, 1, 4, axis=1)
        with_it = scores(codes, fixed, (3, 9, 4, 5), seed=0)
        assert with_it == scores(codes, factors, SMALL_SIZES, seed=0)

    def test_without_any_factor_that_varies_there_are_no_scores(self) -> None:
        found = scores(_noise(100, 3), np.zeros((100, 2), np.int64), (3, 3), seed=0)
        assert set(dataclasses.astuple(found)) == {None}


class TestUnfitCodes:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_code_that_is_not_finite_is_refused(self, value: float) -> None:
        codes = _noise(50, 3)
        codes[7, 1] = value
        with pytest.raises(NonFiniteError, match=r"`codes are finite` must hold.*got unfit=1"):
            scores(codes, _factors(50), SIZES, seed=0)

    @pytest.mark.parametrize("shape", [(50,), (50, 0), (50, 2, 2)])
    def test_codes_must_be_a_table_of_latents(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(DataError, match=r"`shape = \(n, M\), M >= 1` must hold"):
            scores(np.zeros(shape), _factors(50), SIZES, seed=0)

    @pytest.mark.parametrize(("count", "sizes"), [(49, SIZES), (50, (3, 6))])
    def test_every_code_needs_every_factor(self, count: int, sizes: tuple[int, ...]) -> None:
        with pytest.raises(DataError, match=r"`factors\.shape == \(n, len\(sizes\)\)` must hold"):
            scores(_noise(50, 3), _factors(count), sizes, seed=0)

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_extreme_scales_give_shares(self, scale: float) -> None:
        factors = _factors(200)
        _assert_shares(scores(_perfect(factors, 2) * scale, factors, SIZES, seed=0))


def test_the_scores_import_neither_torch_nor_scikit_learn_before_they_are_asked_for() -> None:
    code = (
        "import sys, vae_models.disentanglement; "
        "print({'torch', 'sklearn'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
