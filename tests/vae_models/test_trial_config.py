"""The settings of a trial are normalised on entry, survive JSON and refuse what cannot be."""

import json
import math
import subprocess
import sys

import pytest

from vae_models.config import (
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)
from vae_models.errors import ConfigError


def test_equal_settings_are_equal_however_they_were_written() -> None:
    assert ModelConfig(hidden=[64.0, 32], latent_dim=8.0, sigma2=1) == ModelConfig(  # type: ignore[arg-type]
        hidden=(64, 32), latent_dim=8, sigma2=1.0
    )


def test_settings_survive_json() -> None:
    config = TrialConfig(
        model=ModelConfig(family="conv", hidden=(64, 32), sigma2=0.1),
        objective=ObjectiveConfig(beta=1 / 3, annealing="cyclical", cycles=3),
        train=TrainConfig(learning_rate=3e-4, seed=2**63 - 1),
    )
    assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_is_left_out_takes_its_default() -> None:
    assert TrialConfig.from_dict({"train": {"epochs": 3}}).train == TrainConfig(epochs=3)
    assert TrialConfig.from_dict({}) == TrialConfig()


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ({"modle": {}}, r"A key of a trial must be one of .*'modle'. Did you mean 'model'"),
        ({"train": {"epoch": 3}}, r"A key of train must be one of .*Did you mean 'epochs'"),
        ({"train": 3}, r"`train` must be a table of settings, but got 3"),
    ],
)
def test_an_unknown_key_is_refused(nested: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrialConfig.from_dict(nested)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "cnov"}, r"family must be one of .* got 'cnov'. Did you mean 'conv'"),
        ({"likelihood": "bernouli"}, r"Did you mean 'bernoulli'"),
        ({"hidden": ()}, r"`len\(hidden\) >= 1` must hold for family 'mlp'"),
        ({"hidden": (0,)}, r"`every width >= 1` must hold"),
        ({"hidden": "512"}, r"`every width >= 1` must hold"),
        ({"hidden": 512}, r"`every width >= 1` must hold"),
        ({"latent_dim": 0}, r"`latent_dim >= 1` must hold .* got latent_dim=0"),
        ({"latent_dim": 2.5}, r"whole number.* got latent_dim=2.5"),
        ({"latent_dim": True}, r"whole number.* got latent_dim=True"),
        ({"sigma2": 0.0}, r"`0 < sigma2 < inf` must hold .* got sigma2=0.0"),
        ({"sigma2": math.nan}, r"`0 < sigma2 < inf` must hold .* got sigma2=nan"),
        ({"sigma2": "1"}, r"`0 < sigma2 < inf` must hold .* got sigma2='1'"),
        ({"likelihood": "gaussian_learned", "sigma2": 1e-6}, r"`6.14421e-06 < sigma2 < inf`"),
    ],
)
def test_a_model_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1}, r"`0 <= beta < inf` must hold"),
        ({"reduction": "avg"}, r"reduction must be one of"),
        ({"annealing": "cyclic"}, r"Did you mean 'cyclical'"),
        ({"annealing_unit": "steps"}, r"Did you mean 'step'"),
        ({"annealing": "linear", "warmup": 1.5}, r"`0 <= warmup <= 1` must hold"),
        ({"annealing": "sigmoid", "midpoint": 0}, r"`0 < midpoint <= 1` must hold"),
        ({"annealing": "sigmoid", "steepness": -1}, r"`0 < steepness < inf` must hold"),
        ({"annealing": "cyclical", "cycles": 0}, r"`cycles >= 1` must hold"),
        ({"annealing": "cyclical", "ramp": 1.1}, r"`0 <= ramp <= 1` must hold"),
    ],
)
def test_an_objective_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("chosen", SCHEDULES)
def test_a_schedule_parameter_without_its_schedule_is_refused(chosen: str) -> None:
    for schedule, names in SCHEDULE_PARAMETERS.items():
        for name in names:
            if schedule != chosen:
                with pytest.raises(ConfigError, match=f"`{name}` is a parameter of .*{schedule}"):
                    ObjectiveConfig(annealing=chosen, **{name: 1})  # type: ignore[arg-type]


def test_a_warm_up_in_steps_may_be_longer_than_one() -> None:
    assert ObjectiveConfig(annealing="linear", annealing_unit="step", warmup=500).warmup == 500.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"`epochs >= 1` must hold"),
        ({"batch_size": 0}, r"`batch_size >= 1` must hold"),
        ({"learning_rate": 0}, r"`0 < learning_rate < inf` must hold"),
        ({"lr_schedule": "cosin"}, r"Did you mean 'cosine'"),
        ({"seed": -1}, r"`0 <= seed <= 9223372036854775807` must hold"),
    ],
)
def test_a_training_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_settings_are_checked_without_loading_torch() -> None:
    code = "import sys, vae_models.config, vae_models.schedules; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
