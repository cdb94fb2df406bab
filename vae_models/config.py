"""What a trial is made of: model, objective and training settings, validated and normalised."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, TypeVar

from vae_models.errors import ConfigError
from vae_models.model_config import (
    FACTORISED_PRIORS,
    FAMILIES,
    LARGEST_FULL_LATENT,
    LEAST_LOG_SIGMA,
    LIKELIHOOD_PARAMETERS,
    LIKELIHOODS,
    MODEL_DEFAULTS,
    OUTPUT_ACTIVATIONS,
    POSTERIORS,
    PRIOR_PARAMETERS,
    PRIORS,
    ModelConfig,
)
from vae_models.objective_config import (
    ANNEALING_UNITS,
    OBJECTIVE_DEFAULTS,
    RAMP_SHAPES,
    REGULARISER_PARAMETERS,
    REGULARISERS,
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ObjectiveConfig,
)
from vae_models.train_config import LR_SCHEDULES, TrainConfig

__all__ = [
    "ANNEALING_UNITS",
    "DEFAULTS",
    "FACTORISED_PRIORS",
    "FAMILIES",
    "LARGEST_FULL_LATENT",
    "LEAST_LOG_SIGMA",
    "LIKELIHOODS",
    "LIKELIHOOD_PARAMETERS",
    "LR_SCHEDULES",
    "OUTPUT_ACTIVATIONS",
    "POSTERIORS",
    "PRIORS",
    "PRIOR_PARAMETERS",
    "RAMP_SHAPES",
    "REGULARISERS",
    "REGULARISER_PARAMETERS",
    "SCHEDULES",
    "SCHEDULE_PARAMETERS",
    "ModelConfig",
    "ObjectiveConfig",
    "TrainConfig",
    "TrialConfig",
]

DEFAULTS: Mapping[str, float | int | str] = {**MODEL_DEFAULTS, **OBJECTIVE_DEFAULTS}
"""What a field that is left out takes where something reads it; None elsewhere."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that one trial's training depends on, apart from the data."""

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        regulariser, model = self.objective.regulariser, self.model
        if regulariser == "geco" and model.likelihood not in ("gaussian", "mse"):
            raise ConfigError(
                "Regulariser 'geco' aims at a squared error and must have likelihood='gaussian' "
                f"or 'mse', but got likelihood={model.likelihood!r}."
            )
        per_group = regulariser == "free_bits" and self.objective.group_size != 0
        factorises = model.posterior == "diagonal" and model.prior in FACTORISED_PRIORS
        if per_group and not factorises:
            raise ConfigError(
                "Free bits per group need a KL that is a sum over latents: "
                "`posterior == 'diagonal' and prior in ('standard', 'scaled', 'learned')` must "
                f"hold, but got posterior={model.posterior!r}, prior={model.prior!r}; "
                "group_size=0 takes all latents as one group."
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The settings as a nested dictionary that JSON can hold; inverts `from_dict`."""
        nested = asdict(self)
        for section in nested.values():
            section.update({k: list(v) for k, v in section.items() if isinstance(v, tuple)})
        return nested

    @classmethod
    def from_dict(cls, nested: Mapping[str, Any]) -> Self:
        """The settings in a nested dictionary; what is left out takes its default.

        Raises:
            ConfigError: A key is unknown, or a value is one that no trial can have.
        """
        _refuse_unknown_keys(cls, nested, "a trial")
        return cls(
            model=_section(ModelConfig, nested, "model"),
            objective=_section(ObjectiveConfig, nested, "objective"),
            train=_section(TrainConfig, nested, "train"),
        )


_Section = TypeVar("_Section", ModelConfig, ObjectiveConfig, TrainConfig)


def _section(kind: type[_Section], nested: Mapping[str, Any], name: str) -> _Section:
    section = nested.get(name, {})
    if not isinstance(section, Mapping):
        raise ConfigError(f"`{name}` must be a table of settings, but got {section!r}.")
    _refuse_unknown_keys(kind, section, name)
    return kind(**section)


def _refuse_unknown_keys(kind: type[Any], given: Mapping[str, Any], where: str) -> None:
    known = [known_field.name for known_field in fields(kind)]
    for key in given:
        if key not in known:
            raise ConfigError.unknown(f"A key of {where}", key, known)
