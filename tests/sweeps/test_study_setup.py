"""Before a study is made: what its hypervolume refers to, and which data its trials can have."""

import math
from dataclasses import replace
from typing import Any

import pytest
from sklearn.datasets import load_digits

from sweeps.errors import SweepError
from sweeps.spec import Spec
from sweeps.study_setup import check_data, reference_distortion
from vae_models.config import LIKELIHOODS
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.errors import ConfigError
from vae_models.likelihood_kinds import LIKELIHOOD_MEASURES, UNIT_INTERVAL_LIKELIHOODS

N = 64


def spec_of(*likelihoods: str, distortion: str = "nll", **space: Any) -> Spec:
    study = {"name": "a", "distortion": distortion}
    space |= {"likelihood": list(likelihoods)}
    return Spec.from_dict({"study": study, "data": {"name": "digits"}, "space": space})


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


@pytest.fixture(scope="module")
def error(digits: DataSet) -> float:
    """Squared error of the held-out digits to the training mean, from scikit-learn's own file."""
    train, heldout = digits.train.double() / 16, digits.heldout.double() / 16
    assert len(train) + len(heldout) == len(load_digits().data)
    return float(((heldout - train.mean(0)) ** 2).sum() / len(heldout))


class TestTheReferenceOfTheHypervolume:
    """What a code of zero rate reaches, by the formulas of the densities."""

    def test_squared_error_is_that_to_the_mean(self, digits: DataSet, error: float) -> None:
        spec = spec_of("bernoulli", distortion="se")
        assert reference_distortion(spec, digits) == pytest.approx(error)

    def test_a_fixed_gaussian_has_its_variance(self, digits: DataSet, error: float) -> None:
        expected = error / (2 * 0.3) + N / 2 * math.log(2 * math.pi * 0.3)
        found = reference_distortion(spec_of("gaussian", sigma2=[0.1, 0.3]), digits)
        assert found == pytest.approx(expected)

    def test_a_squared_error_has_a_variance_of_one_half(
        self, digits: DataSet, error: float
    ) -> None:
        found = reference_distortion(spec_of("mse"), digits)
        assert found == pytest.approx(error + N / 2 * math.log(math.pi))

    @pytest.mark.parametrize(
        "likelihood", ["gaussian_learned", "gaussian_optimal", "gaussian_pixel"]
    )
    def test_a_learned_gaussian_has_the_best_variance(
        self, digits: DataSet, error: float, likelihood: str
    ) -> None:
        def nll(variance: float) -> float:
            return error / (2 * variance) + N / 2 * math.log(2 * math.pi * variance)

        found = reference_distortion(spec_of(likelihood), digits)
        best = min(nll(error / N * factor) for factor in (0.9, 0.99, 1.0, 1.01, 1.1))
        assert found == pytest.approx(best)

    def test_a_laplace_is_bounded_from_above(self, digits: DataSet) -> None:
        train, heldout = digits.train.double() / 16, digits.heldout.double() / 16
        absolute = float((heldout - train.mean(0)).abs().sum() / len(heldout))
        best = N * (1 + math.log(2 * absolute / N))
        assert best <= reference_distortion(spec_of("laplace"), digits) < best + 0.5 * N

    def test_a_density_on_the_unit_interval_is_uniform(self, digits: DataSet) -> None:
        assert reference_distortion(spec_of("continuous_bernoulli"), digits) == 0.0

    def test_a_beta_is_uniform_on_the_unit_interval_and_half_a_level_beyond(
        self, digits: DataSet
    ) -> None:
        both_ends = 2 * (1 / 510)
        found = reference_distortion(spec_of("beta"), digits)
        assert found == pytest.approx(N * math.log(1 + both_ends))

    @pytest.mark.parametrize("likelihood", ["discretized_logistic", "categorical256"])
    def test_all_levels_are_as_likely(self, digits: DataSet, likelihood: str) -> None:
        found = reference_distortion(spec_of(likelihood), digits)
        assert found / (N * math.log(2)) == pytest.approx(8.0)  # bits per pixel

    @pytest.mark.parametrize("likelihood", ["bernoulli", "bce"])
    def test_probabilities_are_those_of_the_mean_image(
        self, digits: DataSet, likelihood: str
    ) -> None:
        found = reference_distortion(spec_of(likelihood), digits)
        assert found == digits.zero_rate_bernoulli_nats

    def test_of_several_likelihoods_the_worst_counts(self, digits: DataSet) -> None:
        each = [
            reference_distortion(spec_of(name), digits)
            for name in ("gaussian_learned", "gaussian")
        ]
        assert reference_distortion(spec_of("gaussian_learned", "gaussian"), digits) == max(each)

    def test_every_likelihood_has_one(self, digits: DataSet) -> None:
        assert set(LIKELIHOODS) == set(LIKELIHOOD_MEASURES)
        assert all(
            math.isfinite(reference_distortion(spec_of(name), digits)) for name in LIKELIHOODS
        )


class TestData:
    @pytest.mark.parametrize("likelihood", LIKELIHOODS)
    def test_digits_fit_every_likelihood(self, digits: DataSet, likelihood: str) -> None:
        check_data(spec_of(likelihood), digits)

    @pytest.mark.parametrize("likelihood", UNIT_INTERVAL_LIKELIHOODS)
    def test_values_without_bounds_do_not_fit_those_of_an_interval(self, likelihood: str) -> None:
        data = load_data(DataConfig(name="gaussian", spectrum=(1.0, 0.5), train_size=10))
        with pytest.raises(ConfigError, match="must have data between 0 and 1"):
            check_data(spec_of(likelihood), data)

    def test_large_images_do_not_fit_256_outputs_a_pixel(self) -> None:
        data = load_data(DataConfig(name="sprites", train_size=10))
        with pytest.raises(ConfigError, match=r"pixels <= 3072.*got pixels=4096"):
            check_data(spec_of("bernoulli", "categorical256", distortion="se"), data)

    def test_a_split_of_one_example_is_too_small(self, digits: DataSet) -> None:
        with pytest.raises(SweepError, match="must have two examples or more"):
            check_data(spec_of("gaussian"), replace(digits, heldout=digits.heldout[:1]))
