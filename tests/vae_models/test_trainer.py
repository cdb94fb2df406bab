"""The one trainer: packs, seeds, divergence, and going on where it stopped."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from vae_models.checkpoints import checkpoint_bytes, read_checkpoint
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.errors import CheckpointError, ConfigError
from vae_models.objective import REDUCTIONS
from vae_models.trainer import Diverged, EpochResult, Trainer
from vae_models.vae import VAE

ABSURD = 1e15  # a learning rate that no float32 training survives


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits", train_limit=300, binarisation="dynamic"))


def _config(
    *, family: str = "mlp", seed: int = 0, epochs: int = 4, learning_rate: float = 1e-3
) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(family=family, hidden=(24,), latent_dim=4, likelihood="bernoulli"),
        objective=ObjectiveConfig(beta=0.5, reduction="mean", annealing="cyclical"),
        train=TrainConfig(
            epochs=epochs,
            batch_size=64,
            seed=seed,
            lr_schedule="cosine",
            learning_rate=learning_rate,
        ),
    )


def _timeless(results: Sequence[EpochResult | Diverged], slot: int = 0) -> list[object]:
    """The results of one slot as those of slot 0, without the seconds."""
    return [
        replace(result, slot=0, seconds=0.0)
        if isinstance(result, EpochResult)
        else replace(result, slot=0)
        for result in results
        if result.slot == slot
    ]


def _same_weights(one: VAE, other: VAE) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_each_epoch_of_each_slot_yields_one_result_in_turn(digits: DataSet) -> None:
    results = list(Trainer([_config(epochs=2), _config(epochs=3)], digits))
    assert [(r.slot, r.epoch, r.step) for r in results] == [
        (0, 1, 4),
        (1, 1, 4),
        (0, 2, 8),
        (1, 2, 8),
        (1, 3, 12),
    ]


def test_training_lowers_both_the_loss_and_the_distortion(digits: DataSet) -> None:
    first, *_, last = Trainer([_config(epochs=15, learning_rate=1e-2)], digits)
    assert isinstance(first, EpochResult)
    assert isinstance(last, EpochResult)
    assert last.distortion_nll_nats < 0.9 * first.distortion_nll_nats
    assert last.distortion_se < 0.9 * first.distortion_se


def test_the_weights_in_force_are_those_of_the_reduction_times_the_annealing(
    digits: DataSet,
) -> None:
    """Both terms over N = 64 pixels, so that their ratio is the canonical β = 0.5."""
    for result in Trainer([_config()], digits):
        assert isinstance(result, EpochResult)
        assert result.nll_weight == pytest.approx(1 / 64)
        assert result.rate_weight == pytest.approx(0.5 / 64 * result.annealing_weight)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_terms_are_reported_unweighted_and_the_objective_in_training_units(
    digits: DataSet, reduction: str
) -> None:
    """The one step of this training has the objective that the definition gives, N=64 and M=4."""
    config = TrialConfig(
        model=_config().model,
        objective=ObjectiveConfig(beta=0.5, reduction=reduction),
        train=TrainConfig(epochs=1, batch_size=300),
    )
    result = next(iter(Trainer([config], digits)))
    assert isinstance(result, EpochResult)
    canonical = result.distortion_nll_nats + 0.5 * result.rate_nats
    over_pixels = dict.fromkeys(("mean", "pixel_mean", "kl_batch_sum"), 1 / 64)
    over_batch = dict.fromkeys(("batch_sum", "nll_batch_sum"), 300)
    scale = {**over_pixels, **over_batch}.get(reduction, 1)
    assert result.objective == pytest.approx(scale * canonical, rel=1e-5)


def test_the_weights_in_force_are_reported(digits: DataSet) -> None:
    objective = ObjectiveConfig(annealing="linear", annealing_unit="epoch", warmup=2)
    config = replace(_config(epochs=4), objective=objective)
    results = list(Trainer([config], digits))
    assert [r.annealing_weight for r in results if isinstance(r, EpochResult)] == [0, 0.5, 1, 1]


def test_a_cosine_learning_rate_falls_to_zero(digits: DataSet) -> None:
    rates = [r.learning_rate for r in Trainer([_config()], digits) if isinstance(r, EpochResult)]
    assert rates[0] == pytest.approx(1e-3, rel=0.1)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 1e-4


def test_two_trainings_of_the_same_settings_are_identical(digits: DataSet) -> None:
    one = Trainer([_config()], digits)
    results = list(one)
    torch.manual_seed(99)
    other = Trainer([_config()], digits)
    assert _timeless(list(other)) == _timeless(results)
    assert _same_weights(one.model(0), other.model(0))


def test_another_seed_is_another_training(digits: DataSet) -> None:
    one, other = Trainer([_config()], digits), Trainer([_config(seed=1)], digits)
    assert _timeless(list(one)) != _timeless(list(other))


def test_training_leaves_the_global_random_state_alone(digits: DataSet) -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    list(Trainer([_config(epochs=1)], digits))
    assert torch.equal(torch.rand(4), expected)


def test_an_absurd_learning_rate_diverges_and_its_neighbour_never_notices(
    digits: DataSet,
) -> None:
    absurd = _config(learning_rate=ABSURD)
    trainer = Trainer([absurd, _config()], digits)
    pack = list(trainer)
    calm = Trainer([_config()], digits, slots=2)
    assert _timeless(pack, slot=1) == _timeless(list(calm))
    assert _same_weights(trainer.model(1), calm.model(0))
    (end,) = (result for result in pack if result.slot == 0)
    assert isinstance(end, Diverged)
    assert (end.epoch, end.last) == (1, None)
    assert 1 < end.step <= 4
    assert f"in epoch 1, at step {end.step}, the loss was" in end.message
    assert "(learning_rate=1e+15, beta=0.5)" in end.message


def test_a_divergence_names_beta_only_where_it_is_a_part_of_the_loss(digits: DataSet) -> None:
    absurd = _config(learning_rate=ABSURD)
    capacity = ObjectiveConfig(regulariser="capacity")
    (end,) = Trainer([replace(absurd, objective=capacity)], digits)
    assert isinstance(end, Diverged)
    assert "(learning_rate=1e+15). A lower" in end.message


def test_divergence_reports_the_first_bad_step_and_keeps_the_last_finite_epoch(
    digits: DataSet,
) -> None:
    """A parameter that turns NaN after the second epoch spoils step 9, the first of the third."""
    trainer = Trainer([_config()], digits)
    iterator = iter(trainer)
    next(iterator)
    last = next(iterator)
    with torch.no_grad():
        next(trainer.model(0).parameters()).fill_(torch.nan)
    end = next(iterator)
    assert isinstance(end, Diverged)
    assert (end.epoch, end.step, end.last) == (3, 9, last)
    assert next(iterator, None) is None


def test_a_stopped_slot_trains_no_more(digits: DataSet) -> None:
    trainer = Trainer([_config(), _config(seed=1)], digits)
    epochs = {0: 0, 1: 0}
    for result in trainer:
        epochs[result.slot] = result.epoch
        if result.slot == 0 and result.epoch == 2:
            trainer.stop(0)
    assert epochs == {0: 2, 1: 4}


@pytest.mark.parametrize("family", ["linear", "mlp", "conv"])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    digits: DataSet, family: str
) -> None:
    config = _config(family=family)
    whole = Trainer([config], digits)
    expected = list(whole)

    first = Trainer([config], digits)
    iterator = iter(first)
    results = [next(iterator), next(iterator)]
    checkpoint = read_checkpoint(checkpoint_bytes(first.checkpoint(0)), "trial")
    assert checkpoint.last == results[-1]
    second = Trainer([config], digits, checkpoints=[checkpoint])
    results += list(second)

    assert _timeless(results) == _timeless(expected)
    assert _same_weights(second.model(0), whole.model(0))


def test_a_checkpoint_is_a_copy_that_training_does_not_change(digits: DataSet) -> None:
    trainer = Trainer([_config()], digits)
    iterator = iter(trainer)
    next(iterator)
    checkpoint = trainer.checkpoint(0)
    before = {name: tensor.clone() for name, tensor in checkpoint.model.items()}
    states = {name: tensor.clone() for name, tensor in checkpoint.optimiser.items()}
    next(iterator)
    assert all(torch.equal(tensor, checkpoint.model[name]) for name, tensor in before.items())
    assert all(torch.equal(tensor, checkpoint.optimiser[name]) for name, tensor in states.items())


def test_a_checkpoint_of_a_finished_training_has_nothing_left_to_train(digits: DataSet) -> None:
    trainer = Trainer([_config()], digits)
    list(trainer)
    assert list(Trainer([_config()], digits, checkpoints=[trainer.checkpoint(0)])) == []


def test_a_checkpoint_of_other_settings_is_refused(digits: DataSet) -> None:
    checkpoint = Trainer([_config()], digits).checkpoint(0)
    with pytest.raises(CheckpointError, match="settings must be those of the trial"):
        Trainer([_config(seed=1)], digits, checkpoints=[checkpoint])


def test_a_checkpoint_of_an_older_version_lacks_the_newer_settings(digits: DataSet) -> None:
    """Its training goes on: what was not stored had no other value than the default."""
    trainer = Trainer([_config()], digits)
    iterator = iter(trainer)
    next(iterator)
    checkpoint = trainer.checkpoint(0)
    newer = {"prior", "posterior", "output_activation", "regulariser", "ramp_shape"}
    config = {
        section: {name: value for name, value in settings.items() if name not in newer}
        for section, settings in checkpoint.config.items()
    }
    old = replace(checkpoint, config=config, objective={}, last_active_epochs=())
    resumed = Trainer([_config()], digits, checkpoints=[old])
    assert _timeless(list(resumed)) == _timeless(list(iterator))


def test_a_checkpoint_on_other_data_is_refused(digits: DataSet) -> None:
    checkpoint = Trainer([_config()], digits).checkpoint(0)
    other = load_data(DataConfig(name="digits", train_limit=301))
    with pytest.raises(CheckpointError, match="`checkpoint == data` must hold for the checksums"):
        Trainer([_config()], other, checkpoints=[checkpoint])


def test_a_pack_needs_a_checkpoint_or_none_for_each_slot(digits: DataSet) -> None:
    with pytest.raises(ConfigError, match=r"`len\(checkpoints\) == len\(configs\)` must hold"):
        Trainer([_config()], digits, checkpoints=[None, None])


def test_a_batch_is_at_most_the_training_split(digits: DataSet) -> None:
    config = replace(_config(), train=TrainConfig(epochs=2, batch_size=10_000))
    assert [result.step for result in Trainer([config], digits)] == [1, 2]


def test_bernoulli_pixels_are_refused_for_data_without_bounds() -> None:
    data = load_data(
        DataConfig(name="gaussian", spectrum=(1.0, 0.5), train_size=10, heldout_size=10)
    )
    with pytest.raises(ConfigError, match="Likelihood 'bernoulli' must have data between 0 and 1"):
        Trainer([_config()], data)
