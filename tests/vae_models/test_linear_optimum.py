"""Trained linear VAEs on Gaussian data against the closed form of theory.md §2."""

import math
from typing import NamedTuple

import numpy as np
import pytest

from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import Evaluation, evaluate
from vae_models.trainer import Diverged, Trainer

SPECTRUM = (5.0, 3.2, 2.1, 1.3, 0.8, 0.45, 0.2, 0.05)


class Case(NamedTuple):
    """A setting whose optimum is known; t = beta sigma2."""

    beta: float
    sigma2: float
    latents: int
    reduction: str = "sum"
    family: str = "linear"


LINEAR = [
    Case(1.0, 0.1, 8),
    Case(4.0, 0.25, 8),
    Case(10.0, 0.3, 8, "mean"),
    Case(1.0, 0.1, 3),
    Case(1.0, 1.0, 3, "pixel_mean"),
    Case(0.5, 1.2, 2, "latent_mean"),
    Case(12.0, 0.5, 4),
]
MLP = [Case(1.0, 0.5, 8, family="mlp")]


def closed_form(t: float, latents: int) -> tuple[float, float, int]:
    """(R, D, active units) at the optimum."""
    active = [e for e in SPECTRUM[:latents] if e > t]
    rate = sum(0.5 * math.log(e / t) for e in active)
    return rate, len(active) * t + sum(SPECTRUM[len(active) :]), len(active)


def shannon_rate(distortion: float) -> tuple[float, float]:
    """(R, dR/dD) of reverse water-filling, the level found by bisection."""
    low, high = 0.0, SPECTRUM[0]
    for _ in range(200):
        level = (low + high) / 2
        low, high = (
            (level, high) if sum(min(e, level) for e in SPECTRUM) < distortion else (low, level)
        )
    rate = sum(0.5 * max(0.0, math.log(e / level)) for e in SPECTRUM)
    return rate, -1 / (2 * level)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load_data(
        DataConfig(name="gaussian", spectrum=SPECTRUM, train_size=40_000, heldout_size=40_000)
    )


@pytest.fixture(scope="module")
def points(data: DataSet) -> dict[Case, Evaluation]:
    """All cases, trained as one pack of 2,028 steps."""
    trials = [
        TrialConfig(
            model=ModelConfig(
                family=case.family, hidden=(32,), latent_dim=case.latents, sigma2=case.sigma2
            ),
            objective=ObjectiveConfig(beta=case.beta, reduction=case.reduction),
            train=TrainConfig(epochs=13, batch_size=256, learning_rate=3e-2, lr_schedule="cosine"),
        )
        for case in LINEAR + MLP
    ]
    trainer = Trainer(trials, data)
    assert not any(isinstance(result, Diverged) for result in trainer)
    return {
        case: evaluate(trainer.model(slot), data, samples=2)
        for slot, case in enumerate(LINEAR + MLP)
    }


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_trained_rate_and_distortion_are_those_of_the_closed_form(
    points: dict[Case, Evaluation], case: Case
) -> None:
    rate, distortion, active = closed_form(case.beta * case.sigma2, case.latents)
    point = points[case]
    assert point.rate_nats == pytest.approx(rate, rel=0.02, abs=0.02)
    assert point.distortion_se == pytest.approx(distortion, rel=0.02, abs=0.02)
    assert point.active_units == active
    assert point.collapsed == (active == 0)


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_each_active_latent_carries_what_the_closed_form_gives_it(
    points: dict[Case, Evaluation], case: Case
) -> None:
    """As spectra: columns are free up to sign and order. For units well away from death."""
    t = case.beta * case.sigma2
    variances = [1 - t / e for e in SPECTRUM[: case.latents] if e > t]
    found = sorted(points[case].latent_mean_variance, reverse=True)
    assert found[: len(variances)] == pytest.approx(variances, abs=0.05)
    assert all(value < 0.01 for value in found[len(variances) :])


@pytest.mark.parametrize("case", LINEAR, ids=str)
def test_the_trained_nll_is_the_affine_function_of_the_error(
    points: dict[Case, Evaluation], case: Case
) -> None:
    volume = len(SPECTRUM) / 2 * math.log(2 * math.pi * case.sigma2)
    expected = points[case].distortion_se / (2 * case.sigma2) + volume
    assert points[case].distortion_nll_nats == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", LINEAR + MLP, ids=str)
def test_no_held_out_point_lies_below_the_shannon_bound(
    points: dict[Case, Evaluation], case: Case
) -> None:
    """Beyond four standard errors of the held-out averages."""
    point = points[case]
    bound, slope = shannon_rate(point.distortion_se)
    error = math.hypot(point.rate_stderr, slope * point.distortion_se_stderr)
    assert point.rate_nats >= bound - 4 * error


@pytest.mark.parametrize(
    ("t", "latents", "expected"),
    [
        (0.1, 8, (8.631948, 0.75, 7)),
        (1.0, 8, (1.888445, 5.5, 4)),
        (3.0, 8, (0.287682, 10.9, 2)),
        (0.1, 3, (5.211141, 3.1, 3)),
        (1.0, 3, (1.757263, 5.8, 3)),
    ],
)
def test_the_closed_form_of_this_file_gives_the_golden_table(
    t: float, latents: int, expected: tuple[float, float, int]
) -> None:
    assert closed_form(t, latents) == pytest.approx(expected, abs=1e-6)


def test_a_learned_variance_settles_where_the_closed_form_puts_it(data: DataSet) -> None:
    """sigma² = Σ_{i>k} λᵢ / (N - k beta), with k = M here."""
    latents, beta = 3, 1.0
    trial = TrialConfig(
        model=ModelConfig(
            family="linear", latent_dim=latents, likelihood="gaussian_learned", sigma2=1.0
        ),
        objective=ObjectiveConfig(beta=beta),
        train=TrainConfig(epochs=13, batch_size=256, learning_rate=3e-2, lr_schedule="cosine"),
    )
    trainer = Trainer([trial], data)
    list(trainer)
    sigma2 = evaluate(trainer.model(0), data).sigma2
    expected = np.sum(SPECTRUM[latents:]) / (len(SPECTRUM) - latents * beta)
    assert sigma2 == pytest.approx(expected, rel=0.02)
