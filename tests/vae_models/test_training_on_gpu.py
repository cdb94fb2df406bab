"""Training on a CUDA device: the same numbers up to rounding, and checkpoints that travel."""

from dataclasses import replace

import pytest
import torch

from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.image_sources import ResidentImages, StreamedImages
from vae_models.placement import best_pack
from vae_models.trainer import Diverged, EpochResult, Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits", binarisation="dynamic"))


def _config(family: str, learning_rate: float = 3e-3) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(family=family, hidden=(64,), latent_dim=6, likelihood="bernoulli"),
        train=TrainConfig(epochs=10, batch_size=64, learning_rate=learning_rate),
    )


@pytest.mark.parametrize("family", ["linear", "mlp", "conv"])
def test_a_model_trained_on_the_gpu_evaluates_alike_on_both_devices(
    digits: DataSet, family: str
) -> None:
    trainer = Trainer([_config(family)], digits, device="cuda")
    assert not any(isinstance(result, Diverged) for result in trainer)
    model = trainer.model(0)
    there = evaluate(model, digits)
    here = evaluate(model.cpu(), digits)
    assert there.rate_nats == pytest.approx(here.rate_nats, rel=1e-4)
    assert there.distortion_nll_nats == pytest.approx(here.distortion_nll_nats, rel=1e-4)
    assert there.distortion_se == pytest.approx(here.distortion_se, rel=1e-4)


def test_a_training_moves_between_devices_in_its_middle(digits: DataSet) -> None:
    config = _config("mlp")
    whole = Trainer([config], digits)
    list(whole)
    expected = evaluate(whole.model(0), digits)
    first = Trainer([config], digits)
    iterator = iter(first)
    for _ in range(5):
        next(iterator)
    second = Trainer([config], digits, device="cuda", checkpoints=[first.checkpoint(0)])
    assert [result.epoch for result in second] == [6, 7, 8, 9, 10]
    moved = evaluate(second.model(0), digits)
    assert moved.elbo_nats == pytest.approx(expected.elbo_nats, rel=0.03)


@pytest.mark.parametrize("family", ["mlp", "conv"])
def test_a_training_taken_over_on_the_gpu_is_the_uninterrupted_one_to_a_thousandth(
    digits: DataSet, family: str
) -> None:
    """Sums on a GPU may run in another order; docs/distributed.md states this tolerance."""
    config = _config(family)
    whole = Trainer([config], digits, device="cuda")
    list(whole)
    expected = evaluate(whole.model(0), digits)
    first = Trainer([config], digits, device="cuda")
    iterator = iter(first)
    for _ in range(5):
        next(iterator)
    second = Trainer([config], digits, device="cuda", checkpoints=[first.checkpoint(0)])
    assert [result.epoch for result in second] == [6, 7, 8, 9, 10]
    resumed = evaluate(second.model(0), digits)
    assert resumed.rate_nats == pytest.approx(expected.rate_nats, rel=1e-3)
    assert resumed.distortion_nll_nats == pytest.approx(expected.distortion_nll_nats, rel=1e-3)


def test_divergence_is_found_on_the_gpu_and_spares_the_neighbour(digits: DataSet) -> None:
    results = list(Trainer([_config("mlp", 1e15), _config("mlp")], digits, device="cuda"))
    assert [isinstance(result, Diverged) for result in results if result.slot == 0] == [True]
    assert [result.epoch for result in results if result.slot == 1] == list(range(1, 11))


def test_training_on_the_gpu_leaves_the_global_random_state_alone(digits: DataSet) -> None:
    torch.cuda.manual_seed(7)
    expected = torch.rand(4, device="cuda")
    torch.cuda.manual_seed(7)
    next(iter(Trainer([_config("mlp")], digits, device="cuda")))
    assert torch.equal(torch.rand(4, device="cuda"), expected)


def _pack(count: int) -> list[TrialConfig]:
    basis = _config("mlp")
    return [
        replace(
            basis,
            model=replace(basis.model, latent_dim=2 + seed % 5),
            train=replace(basis.train, seed=seed),
        )
        for seed in range(count)
    ]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recorded_pack_trains_as_lone_trials_do(digits: DataSet, precision: str) -> None:
    """From the fourth step on a step is played from a CUDA graph."""
    trials = _pack(7)
    packed = {r.slot: r for r in Trainer(trials, digits, device="cuda", precision=precision)}
    for slot, trial in enumerate(trials):
        *_, lone = Trainer([trial], digits, device="cuda", precision=precision)
        found = packed[slot]
        assert isinstance(found, EpochResult)
        assert isinstance(lone, EpochResult)
        assert found.distortion_se == pytest.approx(lone.distortion_se, rel=1e-2)


def test_a_step_is_recorded_and_survives_a_refill(digits: DataSet) -> None:
    first, second, third = _pack(3)
    trainer = Trainer([first, second], digits, device="cuda", largest_latent_dim=6)
    list(trainer.train_epoch())
    (pack,) = trainer._packs.values()
    recorded = pack._pass._recorded  # type: ignore[attr-defined]
    assert recorded is not None
    trainer.release(1)
    slot = trainer.admit(third)
    refilled = [r for r in trainer if r.slot == slot]
    assert pack._pass._recorded is recorded  # type: ignore[attr-defined]
    fresh = list(Trainer([third], digits, device="cuda", slots=2, largest_latent_dim=6))
    for found, expected in zip(refilled, fresh, strict=True):
        assert isinstance(found, EpochResult)
        assert isinstance(expected, EpochResult)
        assert found.distortion_se == pytest.approx(expected.distortion_se, rel=1e-3)


def test_examples_stream_through_pinned_memory(digits: DataSet) -> None:
    device = torch.device("cuda")
    order = torch.randint(len(digits.train), (9, 2, 16))
    resident = list(ResidentImages(digits, device).steps(order))
    streamed = list(StreamedImages(digits, device).steps(order))
    assert all(map(torch.equal, resident, streamed))


def test_the_best_pack_is_measured(digits: DataSet) -> None:
    choice = best_pack(_config("mlp"), digits, device="cuda", most=16)
    assert choice.size in (1, 2, 4, 8, 16)
    assert len(choice.timings) >= 2
