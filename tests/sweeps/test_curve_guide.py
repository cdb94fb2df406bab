"""Where the curve of some data lies, told from their spectrum before anything is trained."""

import math
import tomllib
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sweeps.curve_guide import cases_of, in_unit_of, range_notes
from sweeps.range_suggestions import Suggestions, render, suggestions_for
from sweeps.spec import Spec
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.trainer import Trainer

SPECTRUM = [5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05]
N, RATE = len(SPECTRUM), 8.0


def spec_of(space: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Spec:
    document = {"study": {"name": "a"}, "data": {"name": "digits"}, "space": space or {}}
    return Spec.from_dict(document | sections)


def notes(space: dict[str, Any] | None = None, **sections: dict[str, Any]) -> list[str]:
    return list(range_notes(spec_of(space, **sections), SPECTRUM, pixels=N, rate_nats=RATE))


def suggested(space: dict[str, Any] | None = None, **sections: dict[str, Any]) -> Suggestions:
    spec = spec_of(space, **sections)
    return suggestions_for(spec, SPECTRUM, pixels=N, examples=100, rate_nats=RATE)


def numbers_of(line: str) -> tuple[float, float]:
    (table,) = tomllib.loads(line).values()
    return table["low"], table["high"]


class TestCases:
    def test_each_variance_of_a_gaussian_has_its_own_collapse(self) -> None:
        found = cases_of(spec_of({"sigma2": [0.5, 2.0]}), SPECTRUM, rate_nats=RATE, latents=3)
        assert [case.betas.collapse for case in found] == pytest.approx([5 / 0.5, 5 / 2])
        assert [case.betas.first_death for case in found] == pytest.approx([2.1 / 0.5, 2.1 / 2])

    def test_a_learned_variance_collapses_at_the_first_eigenvalue_over_their_mean(self) -> None:
        spec = spec_of({"likelihood": ["gaussian_learned", "gaussian_optimal"]})
        found = cases_of(spec, SPECTRUM, rate_nats=RATE, latents=8)
        assert [case.sigma2 for case in found] == [None, None]
        for case in found:
            assert case.betas.collapse == pytest.approx(5.0 / np.mean(SPECTRUM))

    def test_a_squared_error_is_a_gaussian_of_one_half(self) -> None:
        (case,) = cases_of(
            spec_of(model={"likelihood": "mse"}), SPECTRUM, rate_nats=RATE, latents=8
        )
        assert case.sigma2 == 0.5
        assert case.betas.collapse == pytest.approx(5.0 / 0.5)

    @pytest.mark.parametrize("likelihood", ["bernoulli", "beta", "laplace", "gaussian_pixel"])
    def test_others_have_no_closed_form(self, likelihood: str) -> None:
        spec = spec_of(model={"likelihood": likelihood})
        assert cases_of(spec, SPECTRUM, rate_nats=RATE, latents=8) == []
        found = suggested(model={"likelihood": likelihood})
        assert found.lines == []
        assert f"{likelihood}: no closed form" in render(found)

    def test_data_that_do_not_vary_have_no_curve(self) -> None:
        spec = spec_of({"beta": [100.0]})
        assert list(range_notes(spec, [0.0] * N, pixels=N, rate_nats=0.0)) == []
        found = suggestions_for(spec, [0.0] * N, pixels=N, examples=9, rate_nats=0.0)
        assert "the data do not vary" in render(found)


FACTORS = {
    "sum": 1,
    "mean": N / 2,
    "pixel_mean": N,
    "latent_mean": 1 / 2,
    "batch_sum": 1,
    "kl_batch_sum": N * 32,
    "nll_batch_sum": 1 / 32,
}
"""Canonical beta of a raw weight of one, at M = 2 and B = 32 (theory.md, section 3)."""


class TestUnits:
    @pytest.mark.parametrize(("reduction", "factor"), FACTORS.items())
    def test_the_range_is_given_in_the_raw_units_of_the_reduction(
        self, reduction: str, factor: float
    ) -> None:
        raw = {"low": 0.1, "high": 1, "unit": "raw"}
        found = suggested(
            {"beta": raw},
            model={"latent_dim": 2},
            objective={"reduction": reduction},
            train={"batch_size": 32},
        )
        (case,), (line,) = found.cases, found.lines
        low, high = numbers_of(line)
        assert line.endswith('unit = "raw" }')
        assert low * factor == pytest.approx(case.betas.low, rel=0.1)
        assert high * factor == pytest.approx(case.betas.high, rel=0.1)
        assert low * factor <= case.betas.low * (1 + 1e-9)
        assert high * factor >= case.betas.high * (1 - 1e-9)

    def test_a_normalised_range_covers_every_latent_dimension(self) -> None:
        spec = spec_of(
            {"beta": {"low": 0.1, "high": 1, "unit": "beta_norm"}, "latent_dim": [2, 8]}
        )
        assert in_unit_of(spec, 4.0, N) == pytest.approx((4 * 2 / N, 4 * 8 / N))

    def test_a_batch_is_no_larger_than_the_training_split(self) -> None:
        spec = spec_of(
            {"beta": {"low": 0.1, "high": 1, "unit": "raw"}},
            objective={"reduction": "nll_batch_sum"},
            train={"batch_size": 128},
        )
        assert in_unit_of(spec, 4.0, N, 50) == pytest.approx((4.0 * 50, 4.0 * 50))
        assert in_unit_of(spec, 4.0, N) == pytest.approx((4.0 * 128, 4.0 * 128))

    def test_several_reductions_are_covered_by_one_raw_range(self) -> None:
        spec = spec_of(
            {"beta": {"low": 0.1, "high": 1, "unit": "raw"}, "reduction": ["sum", "pixel_mean"]},
            model={"latent_dim": 2},
        )
        assert in_unit_of(spec, 4.0, N) == pytest.approx((4 / N, 4.0))


class TestLines:
    def test_they_load_as_a_space(self) -> None:
        found = suggested({"beta": [1.0], "latent_dim": [1, 2]})
        space = tomllib.loads("\n".join(found.lines))
        assert set(spec_of(space).searched) == {"beta", "latent_dim"}

    @pytest.mark.parametrize("sampler", ["grid", "sobol"])
    @pytest.mark.parametrize(
        ("sections", "fields"),
        [
            ({}, {"beta", "latent_dim"}),
            ({"regulariser": "geco", "target_se": 3.0}, {"target_se", "latent_dim"}),
            ({"regulariser": "capacity"}, {"capacity_nats", "latent_dim"}),
        ],
    )
    def test_the_spec_that_they_are_for_accepts_them(
        self, sampler: str, sections: dict[str, Any], fields: set[str]
    ) -> None:
        study = {"name": "a", "sampler": sampler}
        found = suggested({"latent_dim": [1, 2]}, study=study, objective=sections)
        fixed = {name: value for name, value in sections.items() if name not in fields}
        spec = spec_of(tomllib.loads("\n".join(found.lines)), study=study, objective=fixed)
        assert set(spec.searched) == fields

    def test_a_capacity_reaches_from_no_rate_to_the_highest_of_interest(self) -> None:
        found = suggested(objective={"regulariser": "capacity"}, model={"likelihood": "beta"})
        (line,) = found.lines
        assert line.startswith("capacity_nats = {")
        assert numbers_of(line) == (0.0, RATE)

    def test_a_discrepancy_is_said_to_have_no_range(self) -> None:
        found = suggested({"latent_dim": [2, 4]}, objective={"regulariser": "wae_mmd"})
        assert "no range of mmd_weight follows from the spectrum" in render(found)
        assert "no range of mmd_weight" not in render(suggested())

    def test_beta_covers_all_likelihoods(self) -> None:
        found = suggested({"likelihood": ["gaussian", "gaussian_learned"], "latent_dim": [2, 8]})
        low, high = numbers_of(found.lines[0])
        assert low <= min(case.betas.low for case in found.cases)
        assert high >= max(case.betas.high for case in found.cases)

    def test_a_fixed_latent_dimension_is_left_alone(self) -> None:
        assert [line.partition(" ")[0] for line in suggested().lines] == ["beta"]

    def test_a_code_of_one_or_two_latents_is_a_choice(self) -> None:
        spec = spec_of({"latent_dim": [1, 2]})
        found = suggestions_for(spec, [4.0, 1.0], pixels=2, examples=9, rate_nats=3.0)
        assert found.lines[-1] == "latent_dim = [1, 2]"

    def test_a_target_reaches_from_the_end_of_the_curve_to_the_variance(self) -> None:
        found = suggested(
            {"latent_dim": [2, 8]}, objective={"regulariser": "geco", "target_se": 3.0}
        )
        low, high = numbers_of(found.lines[0])
        (case,) = found.cases
        level = case.betas.low  # t = beta sigma2 with sigma2 = 1
        distortion = sum(min(value, level) for value in SPECTRUM)
        assert low == pytest.approx(distortion, rel=0.1)
        assert high == pytest.approx(sum(SPECTRUM), rel=0.1)
        assert distortion <= low < high <= sum(SPECTRUM)


class TestNotes:
    def test_a_range_that_covers_the_curve_is_not_spoken_of(self) -> None:
        assert notes({"beta": {"low": 0.01, "high": 100, "log": True}}) == []

    def test_a_range_beyond_the_collapse_is(self) -> None:
        (note,) = notes({"beta": {"low": 5.5, "high": 100, "log": True}})
        assert note.startswith("space.beta: beta starts at 5.5, but the KL of a linear VAE on")
        assert "zero from beta = 5 (gaussian, sigma2 = 1) on" in note

    def test_so_is_a_fixed_beta(self) -> None:
        (note,) = notes(objective={"beta": 7.0})
        assert note.startswith("objective.beta: beta is 7, but the KL")

    def test_a_raw_weight_is_judged_in_its_reduction(self) -> None:
        raw = {"value": 1.0, "unit": "raw"}
        (note,) = notes({"beta": raw, "reduction": ["sum", "pixel_mean", "mean"]})
        assert "canonical beta is 8 in reduction 'pixel_mean', but" in note
        assert notes({"beta": raw, "reduction": ["sum"]}) == []

    def test_the_factor_784_of_a_tutorial_is_found_missing(self) -> None:
        """Seed thread: BCE per pixel beside a KL of weight one collapses on MNIST-like data."""
        rows = load_digits().data / 16
        spectrum = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1].clip(0)
        spec = spec_of(
            model={"likelihood": "mse"},
            objective={"reduction": "pixel_mean", "beta": {"value": 1.0, "unit": "raw"}},
        )
        (note,) = range_notes(spec, spectrum, pixels=64, rate_nats=40.0)
        assert f"zero from beta = {spectrum[0] / 0.5:.3g} (mse" in note

    def test_a_search_wholly_below_the_curve_is(self) -> None:
        (note,) = notes({"beta": {"low": 1e-6, "high": 1e-5, "log": True}})
        assert note.startswith("space.beta: canonical beta ends at 1e-05, below all of the curve")
        assert notes(objective={"beta": 1e-6}) == []

    def test_of_a_range_of_variances_the_least_decides(self) -> None:
        beta = {"low": 10, "high": 100}
        assert notes({"beta": beta, "sigma2": {"low": 0.1, "high": 1}}) == []
        (note,) = notes({"beta": beta, "sigma2": [0.1, 1.0]})
        assert "(gaussian, sigma2 = 1)" in note

    @pytest.mark.parametrize("regulariser", ["free_bits", "capacity", "wae_mmd", "squashed"])
    def test_losses_that_do_not_collapse_there_are_not_warned_of(self, regulariser: str) -> None:
        assert notes(objective={"regulariser": regulariser}, model={"sigma2": 100.0}) == []


@pytest.mark.parametrize(("factor", "collapses"), [(2.0, True), (0.2, False)])
def test_a_deep_network_collapses_near_where_the_spectrum_says(
    factor: float, collapses: bool
) -> None:
    data = load_data(DataConfig(name="digits"))
    (case,) = cases_of(spec_of(), data.spectrum, rate_nats=40.0, latents=4)
    config = TrialConfig(
        model=ModelConfig(hidden=(64,), latent_dim=4),
        objective=ObjectiveConfig(beta=factor * case.betas.collapse),
        train=TrainConfig(epochs=40, learning_rate=3e-3),
    )
    trainer = Trainer([config], data)
    list(trainer)
    found = evaluate(trainer.model(0), data)
    assert found.collapsed is collapses
    assert math.isclose(found.rate_nats, 0.0, abs_tol=0.05) is collapses
