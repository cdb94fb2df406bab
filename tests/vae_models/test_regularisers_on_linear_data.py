"""Linear VAEs trained with each regulariser on Gaussian data, against closed forms.

theory.md, section 2: at a level t the optimum has ``R = ½ Σ ln(λᵢ/t)`` and ``D = k t + Σ λᵢ`` over
the k active and the other directions. Capacity, free bits and GECO choose t by other means than a
beta, so their optimum lies on the same curve.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
from scipy.optimize import brentq

from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import Evaluation, evaluate
from vae_models.trainer import EpochResult, Trainer

SPECTRUM = (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05)
PIXELS = len(SPECTRUM)


class Point(NamedTuple):
    """A point of the curve of linear VAEs with so many latents."""

    rate: float
    distortion: float

    @classmethod
    def at_level(cls, t: float, latents: int) -> "Point":
        active = [value for value in SPECTRUM[:latents] if value > t]
        rate = sum(0.5 * math.log(value / t) for value in active)
        return cls(rate, len(active) * t + sum(SPECTRUM[len(active) :]))

    @classmethod
    def at_rate(cls, rate: float, latents: int) -> "Point":
        return cls.at_level(_root(lambda t: cls.at_level(t, latents).rate - rate), latents)

    @classmethod
    def at_distortion(cls, distortion: float, latents: int) -> "Point":
        return cls.at_level(level_of(distortion, latents), latents)


def level_of(distortion: float, latents: int) -> float:
    return _root(lambda t: Point.at_level(t, latents).distortion - distortion)


def _root(function: Any) -> float:
    return float(brentq(function, 1e-9, SPECTRUM[0] - 1e-9))


class Case(NamedTuple):
    """A training of a linear VAE, and where it should end."""

    objective: ObjectiveConfig
    latents: int
    expected: Point
    sigma2: float = 0.1
    likelihood: str = "gaussian"


def case(
    latents: int,
    expected: Point,
    *,
    sigma2: float = 0.1,
    likelihood: str = "gaussian",
    **rest: Any,
) -> Case:
    return Case(ObjectiveConfig(**rest), latents, expected, sigma2, likelihood)


CAPACITY = {
    "holds the rate at C where the weight would bring it below": case(
        8, Point.at_rate(2.0, 8), regulariser="capacity", gamma=40.0, capacity_nats=2.0
    ),
    "pushes the rate up to C where the data alone would not": case(
        3, Point.at_rate(5.0, 3), sigma2=1.0, regulariser="capacity", gamma=1.0, capacity_nats=5.0
    ),
    "leaves the rate above C where the weight is too small": case(
        8, Point.at_level(1.0, 8), regulariser="capacity", gamma=10.0, capacity_nats=1.0
    ),
    "ends at C after C was annealed": case(
        8,
        Point.at_rate(2.0, 8),
        regulariser="capacity",
        gamma=40.0,
        capacity_nats=2.0,
        annealing="linear",
        reduction="pixel_mean",
    ),
}
GECO = {
    "reaches its target": case(8, Point.at_distortion(5.5, 8), regulariser="geco", target_se=5.5),
    "reaches its target under mse": case(
        8, Point.at_distortion(5.5, 8), likelihood="mse", regulariser="geco", target_se=5.5
    ),
    "reaches a target near the least error of its latents": case(
        3,
        Point.at_distortion(3.5, 3),
        sigma2=1.0,
        regulariser="geco",
        target_se=3.5,
        reduction="mean",
    ),
}
FREE_BITS = {
    "keep the free nats of all latents where the weight would take them": case(
        8, Point.at_rate(2.0, 8), regulariser="free_bits", beta=15.0, free_nats=2.0, group_size=0
    ),
    "change nothing where the rate is above them": case(
        8, Point.at_level(1.0, 8), regulariser="free_bits", beta=10.0, free_nats=1.0, group_size=0
    ),
    "keep the free nats of one latent": case(
        1, Point.at_rate(0.5, 1), regulariser="free_bits", beta=30.0, free_nats=0.5
    ),
}
ON_THE_CURVE = {
    **{f"capacity {name}": case for name, case in CAPACITY.items()},
    **{f"geco {name}": case for name, case in GECO.items()},
    **{f"free bits {name}": case for name, case in FREE_BITS.items()},
}


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load_data(
        DataConfig(name="gaussian", spectrum=SPECTRUM, train_size=40_000, heldout_size=40_000)
    )


Train = Callable[[Case], tuple[Evaluation, EpochResult]]


@pytest.fixture(scope="module")
def train(data: DataSet) -> Train:
    """What 1,404 steps lead to, and the last epoch; each case is trained once."""

    @cache
    def trained(case: Case) -> tuple[Evaluation, EpochResult]:
        model = ModelConfig(
            family="linear",
            latent_dim=case.latents,
            likelihood=case.likelihood,
            sigma2=case.sigma2,
        )
        settings = TrainConfig(epochs=9, batch_size=256, learning_rate=3e-2, lr_schedule="cosine")
        trial = TrialConfig(model=model, objective=case.objective, train=settings)
        trainer = Trainer([trial], data)
        *_, last = trainer
        assert isinstance(last, EpochResult)
        return evaluate(trainer.model(0), data, samples=2), last

    return trained


def assert_at(found: Evaluation, expected: Point) -> None:
    assert found.rate_nats == pytest.approx(expected.rate, rel=0.02, abs=0.02)
    assert found.distortion_se == pytest.approx(expected.distortion, rel=0.02, abs=0.02)


@pytest.mark.parametrize("case", ON_THE_CURVE.values(), ids=ON_THE_CURVE.keys())
def test_training_ends_at_the_point_of_the_curve_that_the_objective_chooses(
    train: Train, case: Case
) -> None:
    found, _ = train(case)
    assert_at(found, case.expected)


def test_the_weights_that_geco_ends_with_tell_the_level(train: Train) -> None:
    """t = beta sigma² = 1/(2 λ)."""
    chosen = GECO["reaches its target"]
    _, last = train(chosen)
    t = chosen.sigma2 * last.rate_weight / last.nll_weight
    assert t == pytest.approx(level_of(5.5, 8), rel=0.03)


def test_free_bits_per_latent_keep_every_latent_at_its_free_nats(train: Train) -> None:
    """Where the KL alone would switch off all of them: t = 6, above the largest eigenvalue."""
    objective = ObjectiveConfig(regulariser="free_bits", beta=60.0, free_nats=0.2)
    found, _ = train(Case(objective, 4, Point(0.8, math.nan)))
    assert found.latent_kl_nats == pytest.approx([0.2] * 4, abs=0.03)


def test_a_squashed_kl_lets_the_rate_grow_far_beyond_that_of_the_kl(train: Train) -> None:
    """And the error fall far below it: hardly anything is left of beta."""
    plain = Point.at_level(1.0, 8)
    found, last = train(Case(ObjectiveConfig(regulariser="squashed", beta=10.0), 8, plain))
    assert found.rate_nats > 10 * plain.rate
    assert found.distortion_se < 0.1 * plain.distortion
    assert last.rate_weight < 1e-3


def test_a_squashed_kl_can_still_collapse(train: Train) -> None:
    """At K = 0 a quarter of beta pulls: t = beta sigma² / 4 is above the largest eigenvalue."""
    objective = ObjectiveConfig(regulariser="squashed", beta=300.0)
    found, _ = train(Case(objective, 8, Point(0.0, sum(SPECTRUM))))
    assert_at(found, Point(0.0, sum(SPECTRUM)))


@pytest.mark.parametrize("likelihood", ["gaussian_learned", "gaussian_optimal"])
@pytest.mark.parametrize(("beta", "active"), [(0.5, 3), (2.0, 2)])
def test_a_variance_that_adapts_settles_where_the_closed_form_puts_it(
    train: Train, likelihood: str, beta: float, active: int
) -> None:
    """``sigma² = Σ_{i>k} λᵢ / (N - k beta)``, the error per pixel of the trained model."""
    sigma2 = sum(SPECTRUM[active:]) / (PIXELS - active * beta)
    assert sum(value > beta * sigma2 for value in SPECTRUM[:3]) == active
    expected = Point.at_level(beta * sigma2, 3)
    start = 1.0  # of a learned variance, also the default of a model that ignores it
    found, _ = train(Case(ObjectiveConfig(beta=beta), 3, expected, start, likelihood))
    assert found.sigma2 == pytest.approx(sigma2, rel=0.02)
    assert_at(found, expected)
