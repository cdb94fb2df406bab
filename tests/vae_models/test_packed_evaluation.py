"""Models evaluated as one, and examples that are streamed to the device."""

import pytest
import torch

from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.evaluation import evaluate
from vae_models.image_sources import ResidentImages, StreamedImages, source_of
from vae_models.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits", train_limit=128, heldout_limit=100))


def _trial(latents: int, seed: int = 0, **model: str | int) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(hidden=(16,), latent_dim=latents, **model),  # type: ignore[arg-type]
        train=TrainConfig(epochs=1, batch_size=32, seed=seed),
    )


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"family": "conv"},
        {"posterior": "full"},
        {"prior": "mixture", "prior_components": 3},
        {"prior": "vamp", "prior_components": 3},
        {"likelihood": "gaussian_optimal"},
        {"likelihood": "discretized_logistic"},
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
def test_models_measured_as_one_are_what_they_are_alone(
    digits: DataSet, model: dict[str, str | int], samples: int
) -> None:
    trials = [_trial(3, 0, **model), _trial(6, 1, **model), _trial(1, 2, **model)]
    trainer = Trainer(trials, digits)
    list(trainer)
    terms = trainer.heldout_terms([0, 1, 2], samples=samples)
    for slot in (2, 0, 1):
        own = trainer.model(slot)
        together = evaluate(own, digits, samples=samples, terms=terms[slot])
        alone = evaluate(own, digits, samples=samples)
        assert together.active_units == alone.active_units
        for name in ("rate_nats", "rate_stderr", "distortion_nll_nats", "distortion_se"):
            wanted = getattr(alone, name)
            assert getattr(together, name) == pytest.approx(wanted, rel=1e-5, abs=1e-6), name
        for name in ("latent_kl_nats", "latent_mean_variance", "latent_kl_q90_nats"):
            wanted = getattr(alone, name)
            assert getattr(together, name) == pytest.approx(wanted, rel=1e-4, abs=1e-6), name


def test_a_likelihood_of_another_kind_is_measured_apart(digits: DataSet) -> None:
    trials = [_trial(2), _trial(2, likelihood="laplace"), _trial(2, seed=1)]
    trainer = Trainer(trials, digits)
    list(trainer)
    terms = trainer.heldout_terms([1, 2, 0])
    for slot in range(3):
        own = trainer.model(slot)
        expected = evaluate(own, digits)
        found = evaluate(own, digits, terms=terms[slot])
        assert found.distortion_nll_nats == pytest.approx(expected.distortion_nll_nats, rel=1e-5)


def test_streamed_examples_are_the_resident_ones(digits: DataSet) -> None:
    generator = torch.Generator().manual_seed(0)
    order = torch.randint(128, (7, 3, 5), generator=generator)
    resident = list(ResidentImages(digits, CPU).steps(order))
    streamed = list(StreamedImages(digits, CPU).steps(order))
    assert len(resident) == len(streamed) == 7
    assert resident[0].shape == (3, 5, 1, 8, 8)
    assert resident[0].dtype == torch.uint8
    assert all(map(torch.equal, resident, streamed))
    assert torch.equal(resident[4][2, 1], digits.train[order[4, 2, 1]])


def test_a_stream_that_is_left_early_ends_its_thread(digits: DataSet) -> None:
    steps = StreamedImages(digits, CPU).steps(torch.zeros((50, 2, 4), dtype=torch.long))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert next(steps, None) is None


def test_main_memory_is_where_the_data_stay_without_a_gpu(digits: DataSet) -> None:
    assert isinstance(source_of(digits, CPU), ResidentImages)
