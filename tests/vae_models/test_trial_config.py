"""The settings of a trial are normalised on entry, survive JSON and refuse what cannot be."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import vae_models.config
from vae_models.config import (
    DEFAULTS,
    LIKELIHOOD_PARAMETERS,
    LIKELIHOODS,
    PRIOR_PARAMETERS,
    PRIORS,
    RAMP_SHAPES,
    REGULARISER_PARAMETERS,
    REGULARISERS,
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
    TrialConfig,
)
from vae_models.errors import ConfigError
from vae_models.objective import REDUCTIONS

REQUIRED: Mapping[str, dict[str, Any]] = {
    "stepwise": {"milestones": (0.1, 0.5), "milestone_weights": (0.2, 1.0)},
    "geco": {"target_se": 3.5},
    "scaled": {"prior_scale": 0.5},
}
"""What has no default, by the schedule, regulariser or prior that needs it."""

TRIALS = [
    TrialConfig(),
    *(TrialConfig(model=ModelConfig(likelihood=name)) for name in LIKELIHOODS),
    *(TrialConfig(model=ModelConfig(prior=name, **REQUIRED.get(name, {}))) for name in PRIORS),
    TrialConfig(model=ModelConfig(prior="scaled", prior_scale=0.5, posterior="full")),
    TrialConfig(model=ModelConfig(prior="vamp", prior_components=500)),
    TrialConfig(model=ModelConfig(family="resnet", hidden=(), output_activation="sigmoid")),
    *(
        TrialConfig(objective=ObjectiveConfig(annealing=name, **REQUIRED.get(name, {})))
        for name in SCHEDULES
    ),
    *(
        TrialConfig(objective=ObjectiveConfig(annealing="cyclical", ramp_shape=name))
        for name in RAMP_SHAPES
    ),
    *(
        TrialConfig(objective=ObjectiveConfig(regulariser=name, **REQUIRED.get(name, {})))
        for name in REGULARISERS
    ),
    *(TrialConfig(objective=ObjectiveConfig(reduction=name)) for name in REDUCTIONS),
]
"""A trial with every name that a setting can have."""


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


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_every_kind_of_trial_survives_json(trial: TrialConfig) -> None:
    again = TrialConfig.from_dict(json.loads(json.dumps(trial.to_dict())))
    assert again == trial
    assert hash(again) == hash(trial)
    assert again.to_dict() == trial.to_dict()


def test_milestones_come_back_from_json_as_tuples_of_floats() -> None:
    objective = ObjectiveConfig(
        annealing="stepwise",
        annealing_unit="epoch",
        milestones=[0, 5, 10],  # type: ignore[arg-type]
        milestone_weights=[0, 1, 0.5],  # type: ignore[arg-type]
    )
    stored = json.loads(json.dumps(TrialConfig(objective=objective).to_dict()))
    assert stored["objective"]["milestones"] == [0.0, 5.0, 10.0]
    again = TrialConfig.from_dict(stored).objective
    assert (again.milestones, again.milestone_weights) == ((0.0, 5.0, 10.0), (0.0, 1.0, 0.5))


def test_numpy_numbers_are_stored_as_plain_ones() -> None:
    model = ModelConfig(latent_dim=np.int64(8), sigma2=np.float32(0.5))  # type: ignore[arg-type]
    assert model == ModelConfig(latent_dim=8, sigma2=0.5)
    assert (type(model.latent_dim), type(model.sigma2)) == (int, float)


OLD = {
    "model": {
        "family": "mlp",
        "hidden": [64, 32],
        "latent_dim": 8,
        "likelihood": "gaussian",
        "sigma2": 0.1,
    },
    "objective": {
        "beta": 2.0,
        "reduction": "mean",
        "annealing": "cyclical",
        "annealing_unit": "fraction",
        "warmup": None,
        "midpoint": None,
        "steepness": None,
        "cycles": 3,
        "ramp": None,
    },
    "train": {
        "epochs": 20,
        "batch_size": 128,
        "learning_rate": 0.001,
        "lr_schedule": "constant",
        "seed": 0,
    },
}
"""A trial as version 0.1.0 stored it in the database and in checkpoints."""


def test_a_trial_stored_by_version_0_1_0_loads_with_what_it_meant() -> None:
    """There was the KL to a standard normal, linear ramps, and outputs without an activation."""
    trial = TrialConfig.from_dict(OLD)
    for section, settings in OLD.items():
        assert settings.items() <= trial.to_dict()[section].items()
    assert (trial.objective.regulariser, trial.objective.ramp_shape) == ("kl", "linear")
    assert (trial.model.prior, trial.model.posterior) == ("standard", "diagonal")
    assert trial.model.output_activation == "none"


@pytest.mark.parametrize("annealing", ["constant", "linear", "sigmoid", "cyclical"])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_learned", "bernoulli"])
def test_every_kind_of_trial_of_version_0_1_0_loads(annealing: str, likelihood: str) -> None:
    old = {
        "model": {**OLD["model"], "likelihood": likelihood},
        "objective": {**OLD["objective"], "annealing": annealing, "cycles": None},
    }
    trial = TrialConfig.from_dict(old)
    assert (trial.objective.annealing, trial.model.likelihood) == (annealing, likelihood)


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
        ({"posterior": "ful"}, r"posterior must be one of .* Did you mean 'full'"),
        ({"prior": "vampp"}, r"prior must be one of .* Did you mean 'vamp'"),
        ({"output_activation": "sigmod"}, r"output_activation must be .* Did you mean 'sigmoid'"),
        ({"prior": "scaled"}, r"`prior_scale > 0` must hold for prior 'scaled', but got .*=None"),
        ({"prior": "scaled", "prior_scale": 0}, r"`1e-06 <= prior_scale <= 1e\+06` must hold"),
        (
            {"prior": "scaled", "prior_scale": math.inf},
            r"`1e-06 <= prior_scale <= 1e\+06` must hold",
        ),
        (
            {"prior": "mixture", "prior_components": 0},
            r"`1 <= prior_components <= 10000` must hold",
        ),
        (
            {"prior": "vamp", "prior_components": 10_001},
            r"`1 <= prior_components <= 10000` must hold .*, but got prior_components=10001",
        ),
        ({"prior": "vamp", "prior_components": 1.5}, r"whole number.* prior_components=1\.5"),
        (
            {"posterior": "full", "latent_dim": 65},
            r"`latent_dim <= 64` must hold for posterior 'full', but got latent_dim=65",
        ),
        (
            {"posterior": "full", "prior": "vamp"},
            r"Prior 'vamp' .* must have posterior='diagonal', but got posterior='full'",
        ),
    ],
)
def test_a_model_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -1}, r"`0 <= beta <= 1e\+30` must hold"),
        ({"reduction": "avg"}, r"reduction must be one of"),
        ({"annealing": "cyclic"}, r"Did you mean 'cyclical'"),
        ({"annealing_unit": "steps"}, r"Did you mean 'step'"),
        ({"annealing": "linear", "warmup": 1.5}, r"`0 <= warmup <= 1` must hold"),
        ({"annealing": "sigmoid", "midpoint": 0}, r"`0 < midpoint <= 1` must hold"),
        ({"annealing": "sigmoid", "steepness": -1}, r"`0 < steepness < inf` must hold"),
        ({"annealing": "cyclical", "cycles": 0}, r"`cycles >= 1` must hold"),
        ({"annealing": "cyclical", "ramp": 1.1}, r"`0 <= ramp <= 1` must hold"),
        ({"annealing": "cyclical", "ramp_shape": "cos"}, r"ramp_shape .* Did you mean 'cosine'"),
        ({"annealing": "delayed", "delay": -0.1}, r"`0 <= delay <= 1` must hold"),
        ({"annealing": "delayed", "delay": 1.1}, r"`0 <= delay <= 1` must hold"),
        ({"annealing": "cosine", "warmup": -1}, r"`0 <= warmup <= 1` must hold"),
        ({"annealing": "stepwise"}, r"`0 <= milestones\[i\] <= 1` .* got milestones=None"),
        (
            {"annealing": "stepwise", "milestones": (0.5,)},
            r"`0 <= milestone_weights\[i\] <= 1` .* got milestone_weights=None",
        ),
        (
            {"annealing": "stepwise", "milestones": (2,), "milestone_weights": (1,)},
            r"`0 <= milestones\[i\] <= 1` must hold .*\(a list\), but got milestones=\(2,\)",
        ),
        (
            {"annealing": "stepwise", "milestones": (0.5,), "milestone_weights": (1.5,)},
            r"`0 <= milestone_weights\[i\] <= 1` must hold",
        ),
        (
            {"annealing": "stepwise", "milestones": "0.5", "milestone_weights": (1,)},
            r"`0 <= milestones\[i\] <= 1` must hold .* got milestones='0\.5'",
        ),
        (
            {"annealing": "stepwise", "milestones": (0.5, 0.5), "milestone_weights": (0, 1)},
            r"`len\(milestones\) == len\(milestone_weights\) >= 1 and milestones rise` must hold",
        ),
        (
            {"annealing": "stepwise", "milestones": (0.5,), "milestone_weights": (0.5, 1)},
            r"`len\(milestones\) == len\(milestone_weights\) >= 1 .* got milestones=\(0\.5,\)",
        ),
        (
            {"annealing": "stepwise", "milestones": (), "milestone_weights": ()},
            r"`len\(milestones\) == .* got milestones=\(\)",
        ),
        ({"regulariser": "freebits"}, r"regulariser must be .* Did you mean 'free_bits'"),
        ({"regulariser": "free_bits", "free_nats": -1}, r"`0 <= free_nats <= 1e\+30` must hold"),
        ({"regulariser": "free_bits", "group_size": -1}, r"`group_size >= 0` must hold"),
        ({"regulariser": "free_bits", "group_size": 1.5}, r"whole number.* got group_size=1\.5"),
        ({"regulariser": "capacity", "gamma": 0}, r"`0 < gamma < inf` must hold"),
        ({"regulariser": "capacity", "capacity_nats": -1}, r"`0 <= capacity_nats < inf`"),
        ({"regulariser": "wae_mmd", "mmd_weight": math.nan}, r"`0 <= mmd_weight < inf`"),
        ({"regulariser": "tcvae", "tc_weight": -1}, r"`0 <= tc_weight < inf` must hold"),
        ({"regulariser": "geco"}, r"`target_se > 0` must hold for regulariser 'geco'"),
        ({"regulariser": "geco", "target_se": 0}, r"`0 < target_se < inf` must hold"),
    ],
)
def test_an_objective_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)  # type: ignore[arg-type]


Table = Mapping[str, tuple[str, ...]]

UNREAD = [
    pytest.param(kind, decider, chosen, name, parameters, id=f"{chosen}-{name}")
    for kind, decider, known, parameters in (
        (ModelConfig, "likelihood", LIKELIHOODS, LIKELIHOOD_PARAMETERS),
        (ModelConfig, "prior", PRIORS, PRIOR_PARAMETERS),
        (ObjectiveConfig, "regulariser", REGULARISERS, REGULARISER_PARAMETERS),
        (ObjectiveConfig, "annealing", SCHEDULES, SCHEDULE_PARAMETERS),
    )
    for chosen in known
    for name in sorted(set().union(*parameters.values()) - {"beta", "sigma2"})
    if name not in parameters.get(chosen, ())
]


@pytest.mark.parametrize(("kind", "decider", "chosen", "name", "parameters"), UNREAD)
def test_a_parameter_that_nothing_reads_is_refused_and_names_its_readers(
    kind: type[ModelConfig | ObjectiveConfig],
    decider: str,
    chosen: str,
    name: str,
    parameters: Table,
) -> None:
    readers = " or ".join(f"'{reader}'" for reader in parameters if name in parameters[reader])
    message = f"`{name}` is a parameter of {decider} {readers} and must be left out otherwise"
    with pytest.raises(ConfigError, match=message) as caught:
        kind(**{decider: chosen, name: 1, **REQUIRED.get(chosen, {})})
    assert f"but got {name}=1 with {decider}='{chosen}'." in str(caught.value)


@pytest.mark.parametrize(("kind", "decider", "chosen", "name", "parameters"), UNREAD)
def test_a_parameter_that_nothing_reads_is_none(
    kind: type[ModelConfig | ObjectiveConfig],
    decider: str,
    chosen: str,
    name: str,
    parameters: Table,
) -> None:
    config = kind(**{decider: chosen, **REQUIRED.get(chosen, {})})
    assert getattr(config, name) is None


def test_a_parameter_that_is_read_takes_its_default() -> None:
    assert ModelConfig(prior="vamp").prior_components == DEFAULTS["prior_components"]
    assert ObjectiveConfig(regulariser="capacity").gamma == DEFAULTS["gamma"]
    assert ObjectiveConfig(annealing="delayed").ramp_shape == DEFAULTS["ramp_shape"]
    assert ObjectiveConfig(annealing="delayed").delay is None


@pytest.mark.parametrize("regulariser", REGULARISERS)
def test_an_objective_says_whether_beta_is_a_part_of_its_loss(regulariser: str) -> None:
    """No fixed beta in advance equals a capacity, an MMD or a reconstruction target."""
    objective = ObjectiveConfig(regulariser=regulariser, **REQUIRED.get(regulariser, {}))
    assert objective.reads_beta is (regulariser not in ("capacity", "wae_mmd", "geco"))


@pytest.mark.parametrize(
    ("model", "objective", "message"),
    [
        (
            {"likelihood": "bernoulli"},
            {"regulariser": "geco", "target_se": 1.0},
            r"'geco' aims at a squared error .* or 'mse', but got likelihood='bernoulli'",
        ),
        (
            {"prior": "vamp"},
            {"regulariser": "free_bits"},
            r"Free bits per group .* got posterior='diagonal', prior='vamp'; group_size=0 takes",
        ),
        (
            {"posterior": "full"},
            {"regulariser": "free_bits", "group_size": 2},
            r"Free bits per group .* must hold, but got posterior='full', prior='standard'",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    model: dict[str, Any], objective: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        TrialConfig(model=ModelConfig(**model), objective=ObjectiveConfig(**objective))


def test_free_bits_over_all_latents_go_with_any_prior_and_posterior() -> None:
    objective = ObjectiveConfig(regulariser="free_bits", group_size=0)
    TrialConfig(model=ModelConfig(prior="mixture", posterior="full"), objective=objective)


def test_every_name_of_the_configuration_can_be_imported() -> None:
    assert all(hasattr(vae_models.config, name) for name in vae_models.config.__all__)
    assert set(DEFAULTS) <= {
        name
        for table in (
            LIKELIHOOD_PARAMETERS,
            PRIOR_PARAMETERS,
            REGULARISER_PARAMETERS,
            SCHEDULE_PARAMETERS,
        )
        for names in table.values()
        for name in names
    }


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
