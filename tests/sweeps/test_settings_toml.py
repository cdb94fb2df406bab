"""The settings to copy from a report are a spec of the trial that they describe."""

import itertools
import tomllib
from typing import Any

import optuna
import pytest

from reports.settings_toml import settings_toml
from sweeps.space import Space
from sweeps.spec import Spec
from toy_sweeps import PIXELS
from vae_models.config import (
    ANNEALING_UNITS,
    FAMILIES,
    LIKELIHOODS,
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)

PARAMETERS: dict[str, Any] = {
    "warmup": 0.25,
    "midpoint": 0.125,
    "steepness": 33.0,
    "cycles": 3,
    "ramp": 0.1,
}


def reloaded(config: TrialConfig) -> TrialConfig:
    """The only trial of the spec that the snippet makes."""
    snippet = tomllib.loads(settings_toml(config.to_dict()))
    spec = Spec.from_dict({"study": {"name": "copied"}, "data": {"name": "digits"}} | snippet)
    return Space(spec, PIXELS).suggest(optuna.trial.FixedTrial({})).config


@pytest.mark.parametrize(
    ("family", "likelihood", "schedule"), list(itertools.product(FAMILIES, LIKELIHOODS, SCHEDULES))
)
@pytest.mark.parametrize("explicit", [False, True], ids=["defaults", "explicit"])
def test_a_copied_trial_loads_as_itself(
    family: str, likelihood: str, schedule: str, explicit: bool
) -> None:
    model: dict[str, Any] = {}
    objective: dict[str, Any] = {}
    if explicit:
        model |= {"hidden": (64, 32)} if family == "mlp" else {}
        model |= {} if likelihood == "bernoulli" else {"sigma2": 1e-5}
        objective |= {name: PARAMETERS[name] for name in SCHEDULE_PARAMETERS[schedule]}
        objective |= {} if schedule == "constant" else {"annealing_unit": ANNEALING_UNITS[1]}
    config = TrialConfig(
        model=ModelConfig(family=family, likelihood=likelihood, latent_dim=3, **model),
        objective=ObjectiveConfig(beta=1 / 3, reduction="mean", annealing=schedule, **objective),
        train=TrainConfig(epochs=2, learning_rate=1e-5, seed=2**63 - 1),
    )
    assert reloaded(config) == config
