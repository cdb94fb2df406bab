"""The settings to copy from a report are a spec of the trial that they describe."""

import itertools
import tomllib
from collections.abc import Iterator
from typing import Any

import optuna
import pytest

from reports.settings_toml import _UNREAD, settings_toml
from sweeps.fields import FIELDS
from sweeps.space import Space
from sweeps.spec import Spec
from toy_sweeps import PIXELS
from vae_models.config import (
    ANNEALING_UNITS,
    FAMILIES,
    LIKELIHOOD_PARAMETERS,
    LIKELIHOODS,
    PRIOR_PARAMETERS,
    PRIORS,
    REGULARISER_PARAMETERS,
    REGULARISERS,
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)
from vae_models.objective import REDUCTIONS

VALUES: dict[str, Any] = {
    "hidden": (64, 32),
    "prior_scale": 0.5,
    "prior_components": 3,
    "sigma2": 1e-5,
    "output_activation": "sigmoid",
    "beta": 1 / 3,
    "free_nats": 0.25,
    "group_size": 2,
    "gamma": 10.0,
    "capacity_nats": 5.0,
    "mmd_weight": 3.0,
    "tc_weight": 2.0,
    "target_se": 7.0,
    "warmup": 0.25,
    "midpoint": 0.125,
    "steepness": 33.0,
    "cycles": 3,
    "ramp": 0.1,
    "ramp_shape": "cosine",
    "delay": 0.125,
    "milestones": (0.0, 0.5),
    "milestone_weights": (0.25, 1.0),
}
"""Of every parameter, one that is not its default."""

REQUIRED = ("prior_scale", "target_se", "milestones", "milestone_weights")


def reloaded(config: TrialConfig) -> TrialConfig:
    """The only trial of the spec that the snippet makes."""
    snippet = tomllib.loads(settings_toml(config.to_dict()))
    spec = Spec.from_dict({"study": {"name": "copied"}, "data": {"name": "digits"}} | snippet)
    return Space(spec, PIXELS).suggest(optuna.trial.FixedTrial({})).config


def of(names: tuple[str, ...], *, explicit: bool) -> dict[str, Any]:
    return {name: VALUES[name] for name in names if explicit or name in REQUIRED}


def models(*, explicit: bool) -> Iterator[ModelConfig]:
    for family, prior, likelihood in itertools.product(FAMILIES, PRIORS, LIKELIHOODS):
        parameters = (
            *(("hidden",) if family == "mlp" else ()),
            *PRIOR_PARAMETERS.get(prior, ()),
            *LIKELIHOOD_PARAMETERS.get(likelihood, ()),
        )
        yield ModelConfig(
            family=family,
            prior=prior,
            likelihood=likelihood,
            latent_dim=3,
            **of(parameters, explicit=explicit),
        )


def objectives(*, explicit: bool) -> Iterator[ObjectiveConfig]:
    for regulariser, schedule in itertools.product(REGULARISERS, SCHEDULES):
        parameters = (*REGULARISER_PARAMETERS[regulariser], *SCHEDULE_PARAMETERS[schedule])
        unit: dict[str, Any] = {"annealing_unit": ANNEALING_UNITS[1]}
        yield ObjectiveConfig(
            regulariser=regulariser,
            annealing=schedule,
            reduction="mean",
            **of(parameters, explicit=explicit),
            **(unit if explicit and schedule != "constant" else {}),
        )


@pytest.mark.parametrize("explicit", [False, True], ids=["defaults", "explicit"])
class TestACopiedTrialLoadsAsItself:
    def test_whatever_its_model(self, explicit: bool) -> None:
        train = TrainConfig(epochs=2, learning_rate=1e-5, seed=2**63 - 1)
        for model in models(explicit=explicit):
            config = TrialConfig(model=model, train=train)
            assert reloaded(config) == config

    def test_whatever_its_objective(self, explicit: bool) -> None:
        for objective in objectives(explicit=explicit):
            config = TrialConfig(objective=objective)
            assert reloaded(config) == config

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    def test_whatever_its_reduction(self, explicit: bool, reduction: str) -> None:
        beta = 1 / 3 if explicit else 1.0
        config = TrialConfig(objective=ObjectiveConfig(beta=beta, reduction=reduction))
        assert reloaded(config) == config


def test_what_is_left_out_is_all_that_has_a_value_though_no_trial_reads_it() -> None:
    config = TrialConfig(
        model=ModelConfig(family="conv", likelihood="bernoulli"),
        objective=ObjectiveConfig(regulariser="wae_mmd"),
    ).to_dict()
    conditional = [field for field in FIELDS.values() if field.condition is not None]
    given = {f.name for f in conditional if config[f.section][f.name] is not None}
    assert given - {"mmd_weight"} == set(_UNREAD)


@pytest.mark.parametrize("name", _UNREAD)
def test_the_reports_table_is_the_configurations(name: str) -> None:
    (decider, values), condition = _UNREAD[name], FIELDS[name].condition
    assert condition is not None
    assert condition.field == decider
    assert set(values) == set(FIELDS[decider].known or ()) - set(condition.values)
