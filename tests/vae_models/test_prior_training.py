"""Training under every prior and posterior: finite, moving, and the same after a resumption."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from prior_settings import prior_settings
from vae_models.checkpoints import checkpoint_bytes, read_checkpoint, restore_model
from vae_models.config import (
    POSTERIORS,
    PRIORS,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.trainer import Diverged, EpochResult, Trainer
from vae_models.vae import build_vae

PAIRS = [
    (prior, posterior)
    for prior in PRIORS
    for posterior in POSTERIORS
    if (prior, posterior) != ("vamp", "full")
]


@pytest.fixture(scope="module")
def gaussian() -> DataSet:
    return load_data(
        DataConfig(name="gaussian", spectrum=(4, 2, 1, 0.5), train_size=512, heldout_size=64)
    )


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits", train_limit=200))


def _trial(epochs: int = 3, beta: float = 0.5, **model: Any) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(**{"hidden": (16,), "latent_dim": 3, "sigma2": 0.2, **model}),
        objective=ObjectiveConfig(beta=beta),
        train=TrainConfig(epochs=epochs, batch_size=64, learning_rate=1e-2),
    )


def _components(prior: str) -> dict[str, int]:
    return {"prior_components": 6} if prior in ("mixture", "vamp") else {}


@pytest.mark.parametrize(("prior", "posterior"), PAIRS)
def test_training_stays_finite_and_lowers_the_loss(
    gaussian: DataSet, prior: str, posterior: str
) -> None:
    trial = _trial(posterior=posterior, **prior_settings(prior), **_components(prior))
    trainer = Trainer([trial], gaussian)
    results = [result for result in trainer if isinstance(result, EpochResult)]
    assert len(results) == 3
    assert results[-1].objective < results[0].objective
    model = trainer.model(0)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("prior", ["learned", "mixture", "vamp"])
def test_training_moves_every_parameter_of_the_prior(gaussian: DataSet, prior: str) -> None:
    trial = _trial(**prior_settings(prior), **_components(prior))
    trainer = Trainer([trial], gaussian)
    list(trainer)
    start = dict(build_vae(trial.model, gaussian.image_shape, 0).prior.named_parameters())
    for name, parameter in trainer.model(0).prior.named_parameters():
        assert (parameter != start[name]).all()


def test_a_mixture_fits_two_clusters_better_than_any_normal_prior_can() -> None:
    """One latent that must carry a fair coin and nothing else: ln 2 nats, if p(z) has two modes.

    Under one normal prior the code's own two modes cost more.
    """
    data = load_data(
        DataConfig(name="gaussian", spectrum=(1e-4, 1e-4), train_size=2048, heldout_size=64)
    )
    coin = torch.where(torch.arange(2048) % 2 == 0, 1.0, -1.0).view(-1, 1, 1, 1)
    train = (data.train + coin).contiguous()
    clusters = replace(data, train=train)
    trials = [
        _trial(20, 1.0, prior=prior, latent_dim=1, sigma2=0.02, **parts)
        for prior, parts in (("learned", {}), ("mixture", {"prior_components": 2}))
    ]
    last = {result.slot: result for result in Trainer(trials, clusters)}
    normal, mixture = last[0], last[1]
    assert isinstance(normal, EpochResult)
    assert isinstance(mixture, EpochResult)
    loss = {
        name: result.distortion_nll_nats + result.rate_nats
        for name, result in (("normal", normal), ("mixture", mixture))
    }
    assert loss["mixture"] < loss["normal"] - 0.1
    assert mixture.rate_nats == pytest.approx(0.693, abs=0.15)


@pytest.mark.parametrize(
    "settings",
    [
        {"prior": "mixture", "prior_components": 4},
        {"prior": "vamp", "prior_components": 4},
        {"prior": "vamp", "prior_components": 100, "family": "linear"},
        {"prior": "learned", "posterior": "full"},
        {"prior": "mixture", "posterior": "full", "family": "linear"},
        {"family": "resnet", "likelihood": "bernoulli"},
    ],
    ids=str,
)
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    digits: DataSet, settings: dict[str, Any]
) -> None:
    trial = _trial(**settings)
    whole = Trainer([trial], digits)
    expected = list(whole)
    first = Trainer([trial], digits)
    results = [next(iter(first))]
    checkpoint = read_checkpoint(checkpoint_bytes(first.checkpoint(0)), "trial")
    second = Trainer([trial], digits, checkpoints=[checkpoint])
    results += list(second)
    assert _timeless(results) == _timeless(expected)
    ours, theirs = second.model(0).state_dict(), whole.model(0).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    restored = restore_model(second.checkpoint(0))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in restored.state_dict().items())


def _timeless(results: Sequence[EpochResult | Diverged]) -> list[object]:
    return [
        replace(result, seconds=0.0) if isinstance(result, EpochResult) else result
        for result in results
    ]
