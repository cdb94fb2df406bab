"""Equal t = beta sigma² through different reductions, variances, weights and data scales."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.kl import KlRegulariser
from vae_models.objective import weights_of
from vae_models.terms import Terms
from vae_models.trainer import Diverged, Trainer
from vae_models.vae import build_vae

N, M, B = 64, 6, 32
T = 0.04

# reduction, sigma², raw weight in that reduction, factor on the data: theory.md §3 makes each t = T.
SETTINGS = [
    ("sum", 1.0, T, 1.0),
    ("sum", 0.04, 1.0, 1.0),
    ("sum", 0.5, 2 * T, 1.0),
    ("mean", 0.5, 2 * T * M / N, 1.0),
    ("mean", 1.0, T * M / N, 1.0),
    ("pixel_mean", 0.5, 2 * T / N, 1.0),
    ("pixel_mean", 0.01, T / 0.01 / N, 1.0),
    ("latent_mean", 0.5, 2 * T * M, 1.0),
    ("batch_sum", 0.5, 2 * T, 1.0),
    ("kl_batch_sum", 0.5, 2 * T / N / B, 1.0),
    ("nll_batch_sum", 0.5, 2 * T * B, 1.0),
    ("sum", 0.5, 2 * T * 3.0**2, 3.0),
    ("mean", 0.01, T / 0.01 * 0.25**2 * M / N, 0.25),
]


def _gradient(reduction: str, sigma2: float, raw: float, scale: float) -> Tensor:
    """The gradient of an MLP that sees scaled images; it divides and multiplies by the factor."""
    vae = build_vae(ModelConfig(hidden=(20,), latent_dim=M, sigma2=sigma2), (1, 8, 8), 0).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((B, 1, 8, 8), generator=generator, dtype=torch.float64)
    noise = torch.randn((B, M), generator=generator, dtype=torch.float64)
    posterior = vae.encode(images)
    latents, prior = posterior.sample(noise), vae.prior_distribution()
    nll, error = vae.likelihood(scale * vae.decoder(latents)).costs(scale * images)
    rate = prior.kl_nats(posterior, latents)
    terms = Terms(rate, nll, error, posterior, latents, prior)
    weights = weights_of(reduction, raw, pixels=N, latents=M, batch=B)
    KlRegulariser(weights)(terms, 1.0).value.backward()
    gradients = [p.grad.flatten() for p in vae.parameters() if p.grad is not None]
    return torch.cat(gradients)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_gradients_at_equal_levels_are_parallel(setting: tuple[str, float, float, float]) -> None:
    cosine = cosine_similarity(_gradient(*SETTINGS[0]), _gradient(*setting), dim=0)
    assert cosine >= 1 - 1e-12


def test_gradients_at_another_level_are_not_parallel() -> None:
    other = _gradient("sum", 1.0, 30 * T, 1.0)
    assert cosine_similarity(_gradient(*SETTINGS[0]), other, dim=0) < 1 - 1e-3


def _trial(reduction: str, sigma2: float) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(hidden=(32,), latent_dim=M, sigma2=sigma2),
        objective=ObjectiveConfig(beta=T / sigma2, reduction=reduction),
        train=TrainConfig(epochs=15, batch_size=64, learning_rate=3e-3, lr_schedule="cosine"),
    )


def test_trials_at_equal_levels_land_on_the_same_point() -> None:
    data = load_data(DataConfig(name="digits"))
    trials = [
        _trial("sum", 1.0),
        _trial("mean", 0.5),
        _trial("pixel_mean", 0.04),
        _trial("latent_mean", 0.2),
        _trial("batch_sum", 0.1),
        _trial("kl_batch_sum", 0.3),
        _trial("nll_batch_sum", 0.02),
    ]
    trainer = Trainer(trials, data)
    assert not any(isinstance(result, Diverged) for result in trainer)
    points = [evaluate(trainer.model(slot), data, samples=4) for slot in range(len(trials))]
    for point in points[1:]:
        assert point.rate_nats == pytest.approx(points[0].rate_nats, rel=0.02)
        assert point.distortion_se == pytest.approx(points[0].distortion_se, rel=0.02)


def test_scaled_data_at_the_scaled_level_land_on_the_scaled_point() -> None:
    data = load_data(
        DataConfig(name="gaussian", spectrum=(4, 2, 1, 0.5), train_size=4096, heldout_size=4096)
    )
    doubled: DataSet = replace(data, scale=2.0)
    rate, error = _linear_point(data, sigma2=0.8)
    rate_doubled, error_doubled = _linear_point(doubled, sigma2=0.8 * 4)
    assert rate_doubled == pytest.approx(rate, rel=0.02)
    assert error_doubled == pytest.approx(4 * error, rel=0.02)


def _linear_point(data: DataSet, sigma2: float) -> tuple[float, float]:
    trial = TrialConfig(
        model=ModelConfig(family="linear", latent_dim=4, sigma2=sigma2),
        train=TrainConfig(epochs=60, batch_size=256, learning_rate=1e-2, lr_schedule="cosine"),
    )
    trainer = Trainer([trial], data)
    list(trainer)
    point = evaluate(trainer.model(0), data, samples=4)
    return point.rate_nats, point.distortion_se
