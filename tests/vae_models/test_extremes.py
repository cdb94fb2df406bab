"""Extreme inputs through the whole of a trial: finite numbers, or one clear error.

Every member of every table goes through training, evaluation, diagnostics and pictures.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prior_settings import prior_settings
from vae_models.config import (
    FAMILIES,
    LIKELIHOODS,
    POSTERIORS,
    PRIORS,
    REGULARISERS,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)
from vae_models.data import DataSet
from vae_models.diagnostics import Diagnostics, diagnose
from vae_models.errors import ConfigError, DataError, NonFiniteError
from vae_models.evaluation import Evaluation, evaluate
from vae_models.evaluation_config import EvaluationConfig
from vae_models.likelihood_kinds import UNIT_INTERVAL_LIKELIHOODS
from vae_models.pictures import reconstruct, sample_prior, traverse
from vae_models.sprites import Factors
from vae_models.trainer import Diverged, Trainer
from vae_models.vae import VAE

Settings = Mapping[str, Any]
SPEND = EvaluationConfig(iwae_samples=8)
_PARAMETERS: Mapping[str, Settings] = {
    "geco": {"target_se": 0.05},
    "free_bits": {"group_size": 0},
}
PRIOR_PAIRS = [
    (prior, posterior)
    for prior in PRIORS
    for posterior in POSTERIORS
    if (prior, posterior) != ("vamp", "full")
]


def _noise(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


def _constant(value: float) -> Callable[[tuple[int, ...]], Tensor]:
    return lambda shape: torch.full(shape, value)


def _data(
    images: Callable[[tuple[int, ...]], Tensor] = _noise,
    *,
    shape: tuple[int, int, int] = (1, 2, 3),
    train: int = 16,
    heldout: int = 5,
    **settings: Any,
) -> DataSet:
    return DataSet(
        name="made",
        train=images((train, *shape)),
        heldout=images((heldout, *shape)),
        scale=1.0,
        **settings,
    )


@dataclass(frozen=True, kw_only=True)
class Extreme:
    """What is out of the ordinary of a trial."""

    data: DataSet = field(default_factory=_data)
    model: Settings = field(default_factory=dict)
    train: Settings = field(default_factory=dict)


HARMLESS: Mapping[str, Extreme] = {
    "nothing": Extreme(),
    "black images": Extreme(data=_data(_constant(0.0))),
    "white images": Extreme(data=_data(_constant(1.0))),
    "grey images, all the same": Extreme(data=_data(_constant(0.3))),
    "one pixel": Extreme(data=_data(shape=(1, 1, 1))),
    "one latent": Extreme(model={"latent_dim": 1}),
    "more latents than pixels": Extreme(model={"latent_dim": 9}),
    "one latent for one pixel": Extreme(data=_data(shape=(1, 1, 1)), model={"latent_dim": 1}),
    "a batch of one": Extreme(train={"batch_size": 1}),
    "a batch above the training split": Extreme(train={"batch_size": 1000}),
    "one training example": Extreme(data=_data(train=1)),
    "two held-out examples": Extreme(data=_data(heldout=2)),
    "a constant pair held out": Extreme(data=_data(_constant(1.0), heldout=2)),
    "an affine family": Extreme(model={"family": "linear"}),
}
"""What every trial must survive."""

STEEP = {
    f"a learning rate of {rate:g}": Extreme(train={"learning_rate": rate})
    for rate in (1.0, 1e2, 1e4, 1e12, 1e30)
}
"""What a trial need not survive."""


def _trial(extreme: Extreme, model: Settings, objective: Settings) -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(**{"hidden": (4,), "latent_dim": 2, **model, **extreme.model}),
        objective=ObjectiveConfig(**objective),
        train=TrainConfig(
            **{"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, **extreme.train}
        ),
    )


def _numbers(value: object, name: str) -> Iterator[tuple[str, float]]:
    """All numbers in a result, however deep, with where they stand."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, f"{name}.{key}")
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            yield from _numbers(part, f"{name}[{place}]")
    elif isinstance(value, float | int):
        yield name, value


def _check_finite(record: Any) -> None:
    found = dict(_numbers(asdict(record), type(record).__name__))
    assert {name: n for name, n in found.items() if not math.isfinite(n)} == {}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a trial came to."""

    model: VAE
    evaluation: Evaluation
    diagnostics: Diagnostics


def _result_of(config: TrialConfig, data: DataSet) -> Result | str:
    """All that a trial does, or why it diverged; any other error is a failure."""
    trainer = Trainer([config], data)
    for result in trainer:
        if isinstance(result, Diverged):
            assert "must stay finite" in result.message
            return result.message
        _check_finite(result)
    return _measured(trainer, data)


def _measured(trainer: Trainer, data: DataSet) -> Result | str:
    model, trained = trainer.model(0), trainer.checkpoint(0)
    try:
        evaluation = evaluate(model, data)
    except NonFiniteError as error:
        return str(error)
    _check_finite(evaluation)
    diagnostics = diagnose(
        model,
        data,
        evaluation,
        SPEND,
        last_active_epochs=trained.last_active_epochs,
        epochs=trained.epoch,
    )
    _check_finite(diagnostics)
    _check_limits(model, evaluation, diagnostics)
    _check_pictures(model, data, evaluation)
    return Result(model=model, evaluation=evaluation, diagnostics=diagnostics)


def _fill(trainer: Trainer, name: str, value: float, start: int = 0) -> None:
    """Sets a parameter of the model, from an index on, before it is trained or measured."""
    parameter = dict(trainer.model(0).named_parameters())[name]
    with torch.no_grad():
        parameter.view(-1)[start:] = value


def _check_limits(model: VAE, evaluation: Evaluation, found: Diagnostics) -> None:
    """What no model can have, however badly it was trained."""
    assert evaluation.distortion_se >= 0
    if model.prior_distribution().closed_form:
        assert evaluation.rate_nats > -1e-5
        assert min(evaluation.latent_kl_nats) > -1e-5
    if model.likelihood.levels is not None:
        assert evaluation.distortion_nll_nats > -1e-5
    if found.bce_floor_nats is not None:
        assert evaluation.distortion_nll_nats > found.bce_floor_nats - 1e-4
    assert found.mutual_information_nats is not None
    assert found.diagnostic_examples is not None
    assert found.mutual_information_nats < math.log(found.diagnostic_examples) + 1e-6


def _check_pictures(model: VAE, data: DataSet, evaluation: Evaluation) -> None:
    pair, drawn = reconstruct(model, data), sample_prior(model, data)
    traversals = traverse(model, data, evaluation.latent_kl_nats)
    assert pair is not None
    assert drawn is not None
    assert traversals is not None
    assert pair[1].shape == data.heldout_images()[:10].shape
    assert drawn.shape == (10, *data.image_shape)
    assert traversals.images.shape[1:] == (9, *data.image_shape)


def _survivor(
    extreme: Extreme, model: Settings | None = None, objective: Settings | None = None
) -> Result:
    """The result of a trial that must have one, with all of its diagnostics."""
    result = _result_of(_trial(extreme, model or {}, objective or {}), extreme.data)
    assert isinstance(result, Result), result
    found = result.diagnostics
    assert found.iwae_nats is not None
    assert found.train_distortion_nll_nats is not None
    assert not [note for note in found.notes if "is not stored" in note]
    return result


def _objective(regulariser: str) -> dict[str, Any]:
    return {"regulariser": regulariser, "beta": 2.0, **_PARAMETERS.get(regulariser, {})}


def _prior(prior: str, posterior: str) -> dict[str, Any]:
    components = {"prior_components": 3} if prior in ("mixture", "vamp") else {}
    return {**prior_settings(prior), "posterior": posterior, **components}


@pytest.mark.parametrize("extreme", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_measures_extreme_data_and_shapes(
    likelihood: str, extreme: Extreme
) -> None:
    _survivor(extreme, {"likelihood": likelihood})


@pytest.mark.parametrize("extreme", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_every_regulariser_takes_extreme_data_and_shapes(
    regulariser: str, extreme: Extreme
) -> None:
    config = _trial(extreme, {}, _objective(regulariser))
    if regulariser == "wae_mmd" and 1 in (config.train.batch_size, len(extreme.data.train)):
        with pytest.raises(ConfigError, match=r"`batch >= 2` must hold for .*'wae_mmd'"):
            Trainer([config], extreme.data)
        return
    _survivor(extreme, {}, _objective(regulariser))


@pytest.mark.parametrize("extreme", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize(("prior", "posterior"), PRIOR_PAIRS)
def test_every_prior_and_posterior_take_extreme_data_and_shapes(
    prior: str, posterior: str, extreme: Extreme
) -> None:
    _survivor(extreme, _prior(prior, posterior))


@pytest.mark.parametrize("images", [_noise, _constant(1.0)], ids=["noise", "white"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), (3, 5, 7)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_the_smallest_and_odd_images(
    family: str, shape: tuple[int, int, int], images: Callable[[tuple[int, ...]], Tensor]
) -> None:
    extreme = Extreme(data=_data(images, shape=shape), train={"batch_size": 3})
    _survivor(extreme, {"family": family})


@pytest.mark.parametrize("extreme", STEEP.values(), ids=STEEP)
@pytest.mark.parametrize(
    "model",
    [
        *({"likelihood": likelihood} for likelihood in LIKELIHOODS),
        *({**_prior(*pair), "latent_dim": 9} for pair in PRIOR_PAIRS),
        *({"family": family} for family in FAMILIES),
    ],
    ids=lambda model: "-".join(map(str, model.values())),
)
def test_a_huge_learning_rate_ends_in_numbers_or_in_a_divergence(
    extreme: Extreme, model: Settings
) -> None:
    _result_of(_trial(extreme, model, {}), extreme.data)


@pytest.mark.parametrize("extreme", STEEP.values(), ids=STEEP)
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_no_regulariser_lets_a_huge_learning_rate_through_as_anything_else(
    regulariser: str, posterior: str, extreme: Extreme
) -> None:
    _result_of(_trial(extreme, {"posterior": posterior}, _objective(regulariser)), extreme.data)


def test_the_largest_learning_rate_diverges_after_its_first_step() -> None:
    config = _trial(Extreme(train={"learning_rate": 1e30}), {}, {})
    (end,) = Trainer([config], _data())
    assert isinstance(end, Diverged)
    assert end.step == 2
    assert end.message.endswith("A lower learning rate may help.")


@pytest.mark.parametrize("regulariser", ["kl", "geco"])
@pytest.mark.parametrize("family", ["linear", "mlp"])
@pytest.mark.parametrize("sigma2", [1e-15, 1e-12, 1e12, 1e15])
def test_a_tiny_or_huge_variance_is_trained_with(
    sigma2: float, family: str, regulariser: str
) -> None:
    result = _survivor(
        Extreme(model={"family": family, "sigma2": sigma2, "likelihood": "gaussian"}),
        objective=_objective(regulariser),
    )
    nats = result.evaluation.distortion_nll_nats
    volume = 3 * math.log(2 * math.pi * sigma2)
    assert nats == pytest.approx(result.evaluation.distortion_se / (2 * sigma2) + volume, rel=1e-4)


@pytest.mark.parametrize("sigma2", [1e-16, 1e16, 1e-300, 1e300])
def test_a_variance_beyond_single_precision_is_refused(sigma2: float) -> None:
    with pytest.raises(
        ConfigError, match=r"`1e-15 <= sigma2 <= 1e\+15` must hold for ModelConfig"
    ):
        ModelConfig(likelihood="gaussian", sigma2=sigma2)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_a_tiny_or_huge_prior_is_trained_with(posterior: str, scale: float) -> None:
    _survivor(Extreme(), {"prior": "scaled", "prior_scale": scale, "posterior": posterior})


@pytest.mark.parametrize(
    "objective",
    [
        {"beta": 0.0},
        {"beta": 1e6},
        {"regulariser": "free_bits", "free_nats": 0.0},
        {"regulariser": "free_bits", "free_nats": 1e30},
        {"regulariser": "free_bits", "group_size": 0},
        {"regulariser": "free_bits", "group_size": 7},
        {"regulariser": "capacity", "capacity_nats": 0.0},
        {"regulariser": "capacity", "gamma": 1e6, "capacity_nats": 1e4},
        {"regulariser": "wae_mmd", "mmd_weight": 0.0},
        {"regulariser": "wae_mmd", "mmd_weight": 1e6},
        {"regulariser": "tcvae", "tc_weight": 0.0},
        {"regulariser": "tcvae", "tc_weight": 1e6},
        {"regulariser": "geco", "target_se": 1e-30},
        {"regulariser": "geco", "target_se": 1e6},
        {"regulariser": "squashed", "beta": 1e6},
    ],
    ids=str,
)
def test_extreme_weights_are_trained_with(objective: Settings) -> None:
    _survivor(Extreme(), objective=objective)


def test_a_weight_out_of_range_is_told_apart_from_a_high_learning_rate() -> None:
    (end,) = Trainer([_trial(Extreme(), {}, {"regulariser": "capacity", "gamma": 1e300})], _data())
    assert isinstance(end, Diverged)
    assert end.step == 1
    assert end.message.endswith("a weight, sigma2 or the data must be out of range.")


@pytest.mark.parametrize("value", [-60.0, 60.0])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_decoders_that_start_at_outputs_of_60_stay_finite(likelihood: str, value: float) -> None:
    config = _trial(Extreme(), {"likelihood": likelihood}, {})
    for images in (_noise, _constant(0.0), _constant(1.0)):
        data = _data(images)
        trainer = Trainer([config], data)
        _fill(trainer, "decoder.layers.2.bias", value)
        for result in trainer:
            _check_finite(result)
        assert isinstance(_measured(trainer, data), Result)


@pytest.mark.parametrize("value", [-60.0, 60.0])
@pytest.mark.parametrize(("prior", "posterior"), PRIOR_PAIRS)
def test_encoders_that_start_at_outputs_of_60_stay_finite(
    prior: str, posterior: str, value: float
) -> None:
    config = _trial(Extreme(), _prior(prior, posterior), {})
    data = _data()
    trainer = Trainer([config], data)
    _fill(trainer, "encoder.layers.2.bias", value)
    for result in trainer:
        _check_finite(result)
    assert isinstance(_measured(trainer, data), Result)


@pytest.mark.parametrize("prior", ["standard", "mixture"])
def test_an_ill_conditioned_covariance_leaves_rate_information_and_bound_what_they_are(
    prior: str,
) -> None:
    """The entries of 30 below its diagonal blow rounding up by 1e10 where L is inverted."""
    data, extreme = _data(), Extreme(model={"latent_dim": 8, "family": "linear"})
    trainer = Trainer([_trial(extreme, _prior(prior, "full"), {})], data)
    _fill(trainer, "encoder.raw_log_variance", 30.0, start=8)
    result = _measured(trainer, data)
    assert isinstance(result, Result)
    found = result.diagnostics
    assert result.evaluation.rate_nats > 0
    assert found.mutual_information_nats == pytest.approx(0.0, abs=math.log(5))
    assert found.iwae_nats is not None
    assert found.exact_nll_nats is None or found.iwae_nats < -found.exact_nll_nats
    if prior == "standard":
        assert found.exact_nll_nats is not None


@pytest.mark.parametrize("value", [-0.5, 1.5, 255.0, math.inf, math.nan])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_values_that_a_likelihood_cannot_have_are_refused_in_one_line(
    likelihood: str, value: float
) -> None:
    for split in ("train", "heldout"):
        data = _data()
        getattr(data, split)[1, 0, 0, 0] = value
        config = _trial(Extreme(), {"likelihood": likelihood}, {})
        if likelihood in UNIT_INTERVAL_LIKELIHOODS:
            with pytest.raises(
                ConfigError, match=r"must have data between 0 and 1, but got 'made'"
            ):
                Trainer([config], data)
        elif not math.isfinite(value):
            with pytest.raises(DataError, match=r"must have finite values .*, but got 'made'"):
                Trainer([config], data)
        else:
            assert isinstance(_result_of(config, data), Result)


@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_data_of_another_scale_are_trained_on(scale: float) -> None:
    """Of unbounded data there are no pictures."""
    images = _data(lambda shape: scale * _noise(shape), peak=None)
    for likelihood in set(LIKELIHOODS) - set(UNIT_INTERVAL_LIKELIHOODS):
        trainer = Trainer([_trial(Extreme(), {"likelihood": likelihood}, {})], images)
        for result in trainer:
            _check_finite(result)
        _check_finite(evaluate(trainer.model(0), images))
        assert reconstruct(trainer.model(0), images) is None


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 0}, r"`n >= 1 and pixels >= 1` must hold for a training split, but got n=0"),
        ({"shape": (1, 0, 3)}, r"for a training split, but got n=16, pixels=0\."),
    ],
)
def test_data_without_a_number_are_refused(sizes: Settings, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Trainer([_trial(Extreme(), {}, {})], _data(**sizes))


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_held_out_examples_are_refused(count: int) -> None:
    data = _data(heldout=count)
    trainer = Trainer([_trial(Extreme(), {}, {})], data)
    with pytest.raises(
        DataError, match=rf"`n >= 2` must hold for a held-out split .* n={count}\."
    ):
        evaluate(trainer.model(0), data)


@pytest.mark.parametrize("likelihood", ["gaussian_learned", "laplace"])
def test_a_learned_scale_that_overflows_is_a_divergence(likelihood: str) -> None:
    """Its NLL is finite: N times a large logarithm."""
    data = _data()
    trainer = Trainer([_trial(Extreme(), {"likelihood": likelihood}, {})], data)
    for name, _ in trainer.model(0).likelihood.named_parameters():
        _fill(trainer, f"likelihood.{name}", 1e4)
    with pytest.raises(
        NonFiniteError, match=r"must hold for a trained model, but got .*sigma2=inf"
    ):
        evaluate(trainer.model(0), data)


@pytest.mark.parametrize("images", [_noise, _constant(0.0)], ids=["noise", "black"])
@pytest.mark.parametrize("heldout", [2, 3, 40])
def test_scores_of_few_or_constant_images_with_factors_are_numbers_or_none(
    heldout: int, images: Callable[[tuple[int, ...]], Tensor]
) -> None:
    places = np.arange(max(16, heldout))
    classes = np.stack([places % 2, places % 3, 0 * places], axis=1)
    factors = Factors(
        names=("two", "three", "one"),
        sizes=(2, 3, 1),
        train=classes[:16],
        heldout=classes[:heldout],
    )
    data = replace(_data(images, heldout=heldout), factors=factors)
    found = _survivor(Extreme(data=data)).diagnostics
    scores = [found.mig, found.dci_informativeness, found.factorvae_score, found.betavae_score]
    assert all(score is None or 0 <= score <= 1 for score in scores)
    assert found.mig is not None
