"""What rounds otherwise trains to the same place: packs, and matrix products in bfloat16."""

from collections.abc import Sequence
from statistics import mean, stdev

import pytest
import torch

from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import Evaluation, evaluate
from vae_models.results import Diverged
from vae_models.trainer import Trainer

SEEDS = range(6)


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _trial(seed: int, family: str = "mlp", likelihood: str = "bernoulli") -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(family=family, hidden=(48,), latent_dim=6, likelihood=likelihood),
        objective=ObjectiveConfig(beta=0.5, annealing="linear"),
        train=TrainConfig(epochs=12, batch_size=64, learning_rate=3e-3, seed=seed),
    )


def _trained(trials: Sequence[TrialConfig], data: DataSet, **options: str) -> list[Evaluation]:
    trainer = Trainer(trials, data, **options)  # type: ignore[arg-type]
    assert not any(isinstance(result, Diverged) for result in trainer)
    return [evaluate(trainer.model(slot), data) for slot in range(len(trials))]


def _within_seed_noise(one: Sequence[Evaluation], other: Sequence[Evaluation]) -> None:
    """The difference of two means of n seeds has a deviation of √(2/n) of one seed's."""
    for name in ("rate_nats", "distortion_nll_nats", "distortion_se"):
        ours, theirs = ([getattr(point, name) for point in points] for points in (one, other))
        noise = stdev(theirs) * (2 / len(theirs)) ** 0.5
        assert abs(mean(ours) - mean(theirs)) < 3 * noise, name


@pytest.mark.parametrize(
    ("family", "likelihood"),
    [("mlp", "bernoulli"), ("mlp", "gaussian_optimal"), ("linear", "gaussian")],
)
def test_a_trained_pack_is_as_good_as_trials_trained_alone(
    digits: DataSet, family: str, likelihood: str
) -> None:
    trials = [_trial(seed, family, likelihood) for seed in SEEDS]
    alone = [_trained([trial], digits)[0] for trial in trials]
    _within_seed_noise(_trained(trials, digits), alone)


@pytest.mark.parametrize("slots", ["alone", "packed"])
def test_bfloat16_moves_no_metric_beyond_the_noise_of_seeds(digits: DataSet, slots: str) -> None:
    trials = [_trial(seed) for seed in SEEDS]
    packs = [trials] if slots == "packed" else [[trial] for trial in trials]
    full, half = (
        [point for pack in packs for point in _trained(pack, digits, precision=precision)]
        for precision in ("float32", "bfloat16")
    )
    _within_seed_noise(half, full)
    assert [point.rate_nats for point in half] != [point.rate_nats for point in full]


def test_weights_losses_and_evaluation_stay_in_float32(digits: DataSet) -> None:
    trainer = Trainer([_trial(0)], digits, precision="bfloat16")
    list(trainer.train_epoch())
    model = trainer.model(0)
    checkpoint = trainer.checkpoint(0)
    for tensors in (checkpoint.model, checkpoint.optimiser):
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    restored = Trainer([_trial(0)], digits, checkpoints=[checkpoint])
    assert evaluate(model, digits) == evaluate(restored.model(0), digits)


def test_a_checkpoint_goes_on_in_another_precision(digits: DataSet) -> None:
    first = Trainer([_trial(0)], digits, precision="bfloat16")
    for _ in range(3):
        list(first.train_epoch())
    second = Trainer([_trial(0)], digits, checkpoints=[first.checkpoint(0)])
    assert [result.epoch for result in second] == list(range(4, 13))


def test_resuming_in_bfloat16_is_exact_too(digits: DataSet) -> None:
    whole = Trainer([_trial(0)], digits, precision="bfloat16")
    half = Trainer([_trial(0)], digits, precision="bfloat16")
    list(whole)
    for _ in range(5):
        list(half.train_epoch())
    resumed = Trainer([_trial(0)], digits, precision="bfloat16", checkpoints=[half.checkpoint(0)])
    list(resumed)
    theirs = whole.model(0).state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in resumed.model(0).state_dict().items())
