"""Packs: many trials as one program, each with the numbers that it would have alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vae_models.checkpoints import Checkpoint, checkpoint_bytes, read_checkpoint
from vae_models.config import (
    FACTORISED_PRIORS,
    FAMILIES,
    LIKELIHOODS,
    POSTERIORS,
    PRIORS,
    REGULARISERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.errors import ConfigError
from vae_models.evaluation import evaluate
from vae_models.objective import REDUCTIONS
from vae_models.results import Diverged, EpochResult
from vae_models.trainer import Trainer

ROUNDING = 1e-5
"""Relative; a hundred roundings of float32."""

TERMS = (
    "rate_nats",
    "distortion_se",
    "distortion_nll_nats",
    "objective",
    "nll_weight",
    "rate_weight",
    "annealing_weight",
    "learning_rate",
)


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits", train_limit=128, heldout_limit=40))


def _trial(
    model: Mapping[str, Any] | None = None,
    objective: Mapping[str, Any] | None = None,
    **train: float | str,
) -> TrialConfig:
    basis: dict[str, Any] = {"hidden": (16,), "latent_dim": 3, "likelihood": "gaussian"}
    return TrialConfig(
        model=ModelConfig(**{**basis, **(model or {})}),
        objective=ObjectiveConfig(**(objective or {})),
        train=TrainConfig(**{"epochs": 2, "batch_size": 32, **train}),  # type: ignore[arg-type]
    )


def _wider(trial: TrialConfig) -> TrialConfig:
    """A neighbour of the same family that differs in all that may differ."""
    return replace(
        trial,
        model=replace(trial.model, latent_dim=7),
        objective=replace(trial.objective, beta=3.0, annealing="linear", reduction="mean"),
        train=replace(trial.train, seed=3, learning_rate=3e-3),
    )


def _agree(found: EpochResult | Diverged, expected: EpochResult | Diverged) -> None:
    """Equal within rounding; exactly so in what is counted."""
    assert isinstance(found, EpochResult)
    assert isinstance(expected, EpochResult)
    assert (found.epoch, found.step) == (expected.epoch, expected.step)
    assert found.active_units == expected.active_units
    for name in TERMS:
        wanted = getattr(expected, name)
        assert getattr(found, name) == pytest.approx(wanted, rel=ROUNDING, abs=1e-6), name


def _by_slot(
    results: Sequence[EpochResult | Diverged],
) -> dict[int, list[EpochResult | Diverged]]:
    slots: dict[int, list[EpochResult | Diverged]] = {}
    for result in results:
        slots.setdefault(result.slot, []).append(result)
    return slots


def _timeless(results: Sequence[EpochResult | Diverged]) -> list[EpochResult]:
    """Results as those of slot 0, without the seconds: what must be equal bit for bit."""
    epochs = [result for result in results if isinstance(result, EpochResult)]
    assert len(epochs) == len(results)
    return [replace(result, slot=0, seconds=0.0) for result in epochs]


def _check_pack(trials: Sequence[TrialConfig], data: DataSet) -> None:
    packed = _by_slot(list(Trainer(trials, data)))
    for slot, trial in enumerate(trials):
        lone = list(Trainer([trial], data))
        assert len(packed[slot]) == len(lone)
        _agree(packed[slot][0], lone[0])


def _likelihood(name: str) -> dict[str, str]:
    return {"likelihood": name}


def _prior(name: str) -> dict[str, Any]:
    if name == "scaled":
        return {"prior": name, "prior_scale": 0.5}
    return (
        {"prior": name, "prior_components": 3} if name in ("mixture", "vamp") else {"prior": name}
    )


def _regulariser(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    if name == "geco":
        return {"regulariser": name, "target_se": 5.0}
    if name != "free_bits":
        return {"regulariser": name}
    factorises = model["posterior"] == "diagonal" and model["prior"] in FACTORISED_PRIORS
    return {"regulariser": name, "free_nats": 0.5, "group_size": 2 if factorises else 0}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_a_trial_of_any_family_is_in_a_pack_what_it_is_alone(
    digits: DataSet, family: str, posterior: str
) -> None:
    trial = _trial({"family": family, "posterior": posterior})
    _check_pack([_wider(trial), trial], digits)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_trial_of_any_likelihood_is_in_a_pack_what_it_is_alone(
    digits: DataSet, likelihood: str
) -> None:
    trial = _trial(_likelihood(likelihood))
    _check_pack([_wider(trial), trial], digits)


@pytest.mark.parametrize("regulariser", REGULARISERS)
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_a_trial_of_any_prior_and_regulariser_is_in_a_pack_what_it_is_alone(
    digits: DataSet, posterior: str, prior: str, regulariser: str
) -> None:
    if (posterior, prior) == ("full", "vamp"):
        return  # no such model
    model = {"posterior": posterior, **_prior(prior)}
    trial = _trial(model, _regulariser(regulariser, model))
    neighbour = _wider(trial)
    _check_pack([neighbour, trial], digits)


def test_likelihoods_regularisers_and_latents_mix_in_one_pack(digits: DataSet) -> None:
    """All with one number per pixel: one call of the networks serves them all."""
    trials = [
        _trial({"likelihood": "bernoulli", "latent_dim": 2}),
        _trial({"likelihood": "gaussian", "latent_dim": 9, "sigma2": 0.1}, seed=1),
        _trial({"likelihood": "gaussian_learned"}, {"annealing": "cyclical"}, seed=2),
        _trial({"likelihood": "gaussian_optimal"}, {"regulariser": "tcvae"}, seed=3),
        _trial({"likelihood": "gaussian", "latent_dim": 1}, {"regulariser": "wae_mmd"}, seed=4),
        _trial({"likelihood": "gaussian"}, {"regulariser": "geco", "target_se": 4.0}, epochs=1),
        _trial({"likelihood": "laplace"}, {"reduction": "pixel_mean"}, lr_schedule="cosine"),
    ]
    _check_pack(trials, digits)


def test_families_and_batch_sizes_train_side_by_side_in_packs_of_their_own(
    digits: DataSet,
) -> None:
    trials = [_trial(), _trial({"family": "conv"}), _trial(batch_size=64), _trial(seed=1)]
    _check_pack(trials, digits)


def test_each_slot_draws_its_own_dynamic_binarisation() -> None:
    data = load_data(DataConfig(name="digits", train_limit=128, binarisation="dynamic"))
    trials = [_trial(_likelihood("bernoulli"), seed=seed) for seed in (0, 1)]
    _check_pack(trials, data)


_TRIALS = st.builds(
    lambda latents, likelihood, annealing, reduction, beta, rate, seed, epochs: _trial(
        {"latent_dim": latents, "likelihood": likelihood},
        {"beta": beta, "reduction": reduction, "annealing": annealing},
        learning_rate=rate,
        seed=seed,
        epochs=epochs,
    ),
    latents=st.integers(1, 12),
    likelihood=st.sampled_from([n for n in LIKELIHOODS if n not in ("beta", "categorical256")]),
    annealing=st.sampled_from([name for name in SCHEDULES if name != "stepwise"]),
    reduction=st.sampled_from(REDUCTIONS),
    beta=st.floats(0.01, 30),
    rate=st.floats(1e-5, 1e-3),
    seed=st.integers(0, 99),
    epochs=st.integers(1, 3),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trials=st.lists(_TRIALS, min_size=2, max_size=7))
def test_any_pack_gives_what_lone_trials_give(digits: DataSet, trials: list[TrialConfig]) -> None:
    _check_pack(trials, digits)


@pytest.mark.parametrize("family", ["linear", "mlp", "conv"])
def test_size_row_and_company_change_no_bit(digits: DataSet, family: str) -> None:
    """What a trial gives in a pack, it gives in any other that is as wide."""
    trial = _trial({"family": family})
    others = [_trial({"family": family, "latent_dim": m}, seed=m) for m in (2, 7, 5, 4)]

    def results(pack: Sequence[TrialConfig], slot: int) -> list[EpochResult]:
        trainer = Trainer(pack, digits, slots=8, largest_latent_dim=7)
        return _timeless(_by_slot(list(trainer))[slot])

    expected = results([trial], 0)
    assert results([*others, trial], 4) == expected
    assert results([others[0], trial, *others[1:]], 1) == expected
    assert results([trial, others[2]], 0) == expected


def test_a_refill_at_any_epoch_leaves_the_others_as_they_are(digits: DataSet) -> None:
    """Trials of 1 to 5 epochs through three slots: each as if it had started with the rest."""
    trials = [_trial(seed=seed, epochs=1 + seed % 5) for seed in range(9)]
    trainer = Trainer([], digits, slots=3, largest_latent_dim=3)
    waiting, running = list(enumerate(trials)), dict[int, int]()
    found: dict[int, list[EpochResult | Diverged]] = {}
    together = []
    while waiting or running:
        while waiting and trainer.free:
            number, trial = waiting.pop(0)
            running[trainer.admit(trial)] = number
        together.append(sorted(running.values()))
        for result in trainer.train_epoch():
            found.setdefault(running[result.slot], []).append(result)
        for slot, number in list(running.items()):
            if len(found[number]) == trials[number].train.epochs:
                trainer.release(slot)
                del running[slot]
    assert all(len(numbers) == 3 for numbers in together[:7])
    for number, trial in enumerate(trials):
        alone = Trainer([trial], digits, slots=2, largest_latent_dim=3)
        assert _timeless(found[number]) == _timeless(list(alone))


def test_a_nan_never_reaches_a_neighbour(digits: DataSet) -> None:
    sick, well = _trial(learning_rate=1e30, epochs=3), _trial(seed=1, epochs=3)
    pack = Trainer([well, sick], digits)
    slots = _by_slot(list(pack))
    assert isinstance(slots[1][-1], Diverged)
    alone = Trainer([well], digits, slots=2)
    assert _timeless(slots[0]) == _timeless(list(alone))
    theirs = alone.model(0).state_dict()
    assert all(torch.equal(t, theirs[n]) for n, t in pack.model(0).state_dict().items())


def _stored(checkpoint: Checkpoint) -> Checkpoint:
    return read_checkpoint(checkpoint_bytes(checkpoint), "a test")


@pytest.mark.parametrize(
    "settings_",
    [
        ({}, {}),
        ({"likelihood": "gaussian_optimal"}, {}),
        ({"posterior": "full"}, {}),
        ({"prior": "mixture", "prior_components": 3}, {}),
        ({"prior": "learned", "family": "linear"}, {"regulariser": "geco", "target_se": 5.0}),
    ],
    ids=["plain", "optimal sigma", "full", "mixture", "learned prior and geco"],
)
def test_a_checkpoint_of_slot_3_of_8_goes_on_alone_and_in_slot_0_of_2(
    digits: DataSet, settings_: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """With the same metrics within rounding, and with every bit in a pack as wide."""
    trial = _trial(*settings_, epochs=4)
    others = [replace(trial, train=replace(trial.train, seed=9 + i)) for i in range(7)]
    others[5] = replace(others[5], model=replace(trial.model, latent_dim=6))
    eight = Trainer([*others[:3], trial, *others[3:]], digits)
    first = _by_slot([r for r in eight if r.slot == 3])[3]
    half = Trainer([*others[:3], trial, *others[3:]], digits)
    for _ in range(2):
        list(half.train_epoch())
    checkpoint = _stored(half.checkpoint(3))
    assert {name: t.shape for name, t in checkpoint.model.items()} == {
        name: t.shape for name, t in Trainer([trial], digits).checkpoint(0).model.items()
    }
    pair = Trainer(
        [trial, others[0]], digits, checkpoints=[checkpoint, None], largest_latent_dim=6
    )
    assert _timeless(_by_slot(list(pair))[0]) == _timeless(first[2:])
    lone = Trainer([trial], digits, checkpoints=[checkpoint])
    for found, expected in zip(lone, first[2:], strict=True):
        assert isinstance(found, EpochResult)
        assert isinstance(expected, EpochResult)
        for name in TERMS:
            wanted = getattr(expected, name)
            assert getattr(found, name) == pytest.approx(wanted, rel=1e-3, abs=1e-5), name
    one, other = evaluate(lone.model(0), digits), evaluate(eight.model(3), digits)
    assert one.rate_nats == pytest.approx(other.rate_nats, rel=1e-3, abs=1e-5)
    assert one.distortion_se == pytest.approx(other.distortion_se, rel=1e-3)


def test_idle_latents_stay_exactly_zero(digits: DataSet) -> None:
    """No gradient reaches them, nor do they: not in the weights, not in Adam, not in a rate."""
    for model in ({}, {"posterior": "full"}, {"prior": "learned"}, {"prior": "mixture"}):
        trial = _trial({"latent_dim": 3, **model}, epochs=2)
        trainer = Trainer([trial, _wider(trial)], digits)
        list(trainer)
        slot = trainer._slots[0]
        assert slot is not None
        images = digits.heldout_images()
        noise = slot.widened(torch.ones(len(images), 3))
        wide = slot.model
        posterior, prior = wide.encode(images), wide.prior_distribution()
        latents = posterior.sample(noise)
        assert not posterior.mean[:, 3:].any()
        assert not latents[:, 3:].any()
        assert not prior.latent_kl_nats(posterior, latents)[:, 3:].any()
        assert not posterior.marginal_log_prob(latents)[:, 3:].any()
        decoder = next(p for n, p in wide.named_parameters() if n == "decoder.layers.0.weight")
        assert not decoder[:, 3:].any()
        place = [name for name, _ in wide.named_parameters()].index("decoder.layers.0.weight")
        assert not slot.optimiser.states[place]["exp_avg_sq"][:, 3:].any()
        own = trainer.model(0)
        mine = own.encode(images)
        rate = own.prior_distribution().kl_nats(mine, mine.sample(noise[:, :3]), noise[:, :3])
        torch.testing.assert_close(prior.kl_nats(posterior, latents, noise), rate)


def test_a_trial_wider_than_the_pack_gets_a_pack_of_its_own(digits: DataSet) -> None:
    trainer = Trainer([_trial()], digits, slots=3, largest_latent_dim=4)
    wide = _trial({"latent_dim": 20})
    slot = trainer.admit(wide)
    found = _by_slot(list(trainer))
    _agree(found[slot][0], next(iter(Trainer([wide], digits))))


def test_a_full_covariance_is_not_widened_beyond_what_it_can_have(digits: DataSet) -> None:
    trial = _trial({"posterior": "full"}, epochs=1)
    trainer = Trainer([trial], digits, slots=2, largest_latent_dim=500)
    _agree(next(iter(trainer)), next(iter(Trainer([trial], digits))))


def test_no_slot_for_another_trial_is_refused(digits: DataSet) -> None:
    trainer = Trainer([_trial()], digits)
    with pytest.raises(ConfigError, match=r"`free >= 1` must hold for a pack, but got free=0"):
        trainer.admit(_trial())
    trainer.release(0)
    with pytest.raises(ConfigError, match="Slot 0 must hold a trial, but it is free"):
        trainer.model(0)
    assert trainer.admit(_trial()) == 0


def test_an_unknown_precision_is_refused(digits: DataSet) -> None:
    with pytest.raises(ConfigError, match="precision"):
        Trainer([_trial()], digits, precision="float16")
