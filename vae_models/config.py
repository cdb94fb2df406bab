"""What a trial is made of: model, objective and training settings, validated and normalised."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, TypeVar, cast

from vae_models.errors import ConfigError
from vae_models.objective import REDUCTIONS

__all__ = [
    "ANNEALING_UNITS",
    "FAMILIES",
    "LEAST_LOG_SIGMA",
    "LIKELIHOODS",
    "LR_SCHEDULES",
    "SCHEDULES",
    "SCHEDULE_PARAMETERS",
    "ModelConfig",
    "ObjectiveConfig",
    "TrainConfig",
    "TrialConfig",
]

FAMILIES = ("linear", "mlp", "conv")
LIKELIHOODS = ("gaussian", "gaussian_learned", "bernoulli")
SCHEDULES = ("constant", "linear", "sigmoid", "cyclical")
ANNEALING_UNITS = ("fraction", "step", "epoch")
LR_SCHEDULES = ("constant", "cosine")

SCHEDULE_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("warmup",),
    "sigmoid": ("midpoint", "steepness"),
    "cyclical": ("cycles", "ramp"),
}
"""The fields of `ObjectiveConfig` that each annealing schedule reads."""

LEAST_LOG_SIGMA = -6.0
"""Where a learned ln sigma is softly clamped from below (Rybkin et al. 2021, sigma-VAE)."""

_LARGEST_SEED = 2**63 - 1  # what a torch.Generator takes and a BIGINT column holds


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network and the likelihood of a VAE.

    Attributes:
        family: One of `FAMILIES`.
        hidden: Widths of the hidden layers of the ``mlp`` encoder; the decoder mirrors them.
        latent_dim: M, the number of latents.
        likelihood: One of `LIKELIHOODS`.
        sigma2: Decoder variance in squared model units: fixed (``gaussian``) or its starting
            value (``gaussian_learned``, above exp(2 LEAST_LOG_SIGMA)). Ignored for ``bernoulli``.
    """

    family: str = "mlp"
    hidden: tuple[int, ...] = (512,)
    latent_dim: int = 16
    likelihood: str = "gaussian"
    sigma2: float = 1.0

    def __post_init__(self) -> None:
        _choice(self, "family", FAMILIES)
        _choice(self, "likelihood", LIKELIHOODS)
        _set(self, "hidden", _widths(self.hidden))
        _integer(self, "latent_dim", low=1)
        _number(self, "sigma2", low=0.0, open_low=True)
        if self.family == "mlp" and not self.hidden:
            raise ConfigError.unmet("len(hidden) >= 1", "family 'mlp'", hidden=self.hidden)
        if self.likelihood == "gaussian_learned":
            _number(self, "sigma2", low=math.exp(2 * LEAST_LOG_SIGMA), open_low=True)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The weight of the rate, the reduction it is trained in, and how it is annealed.

    Attributes:
        beta: Canonical beta (nats of KL against nats of NLL, sum over both).
        reduction: One of `vae_models.objective.REDUCTIONS`; an overall scale of the loss.
        annealing: One of `SCHEDULES`; its parameters are `SCHEDULE_PARAMETERS[annealing]`.
        annealing_unit: The unit of `warmup`, `midpoint` and 1/`steepness`: a fraction of the
            training, optimiser steps, or whole epochs.
        warmup: Where the linear ramp reaches one; half of the training if None.
        midpoint: Where the sigmoid is one half; a quarter of the training if None.
        steepness: Slope of the sigmoid's exponent per unit; 10/midpoint if None.
        cycles: Number of cycles in the training; 4 if None.
        ramp: Share of each cycle that rises, the rest is at one; 0.5 if None.
    """

    beta: float = 1.0
    reduction: str = "sum"
    annealing: str = "constant"
    annealing_unit: str = "fraction"
    warmup: float | None = None
    midpoint: float | None = None
    steepness: float | None = None
    cycles: int | None = None
    ramp: float | None = None

    def __post_init__(self) -> None:
        _number(self, "beta", low=0.0)
        _choice(self, "reduction", REDUCTIONS)
        _choice(self, "annealing", SCHEDULES)
        _choice(self, "annealing_unit", ANNEALING_UNITS)
        self._refuse_foreign_parameters()
        longest = 1.0 if self.annealing_unit == "fraction" else math.inf
        _number(self, "warmup", low=0.0, high=longest, optional=True)
        _number(self, "midpoint", low=0.0, high=longest, open_low=True, optional=True)
        _number(self, "steepness", low=0.0, open_low=True, optional=True)
        _integer(self, "cycles", low=1, optional=True)
        _number(self, "ramp", low=0.0, high=1.0, optional=True)

    def _refuse_foreign_parameters(self) -> None:
        for schedule, names in SCHEDULE_PARAMETERS.items():
            for name in names:
                if getattr(self, name) is not None and schedule != self.annealing:
                    raise ConfigError(
                        f"`{name}` is a parameter of annealing {schedule!r} and must be left out "
                        f"otherwise, but got {name}={getattr(self, name)!r} "
                        f"with annealing={self.annealing!r}."
                    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast a trial trains.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Examples per step; at most the training split.
        learning_rate: Adam's step size.
        lr_schedule: ``constant``, or ``cosine`` (to zero over the whole training).
        seed: Of the weights, the order of the data and the noise.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    lr_schedule: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        _integer(self, "epochs", low=1)
        _integer(self, "batch_size", low=1)
        _number(self, "learning_rate", low=0.0, open_low=True)
        _choice(self, "lr_schedule", LR_SCHEDULES)
        _integer(self, "seed", low=0, high=_LARGEST_SEED)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that one trial's training depends on, apart from the data."""

    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The settings as a nested dictionary that JSON can hold; inverts `from_dict`."""
        nested = asdict(self)
        nested["model"]["hidden"] = list(self.model.hidden)
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


def _set(config: object, name: str, value: object) -> None:
    object.__setattr__(config, name, value)  # the way into a frozen dataclass


def _choice(config: object, name: str, known: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in known:
        raise ConfigError.unknown(name, value, known)


def _number(
    config: object,
    name: str,
    *,
    low: float,
    high: float = math.inf,
    open_low: bool = False,
    optional: bool = False,
) -> None:
    """Stores the field as a float, or says in which interval it must lie."""
    value = getattr(config, name)
    if value is None and optional:
        return
    number = _float(value)
    above = number > low if open_low else number >= low
    if not (math.isfinite(number) and above and number <= high):
        upper = "< inf" if high == math.inf else f"<= {high:g}"
        condition = f"{low:g} {'<' if open_low else '<='} {name} {upper}"
        raise ConfigError.unmet(condition, type(config).__name__, **{name: value})
    _set(config, name, number)


def _integer(
    config: object, name: str, *, low: int, high: int | None = None, optional: bool = False
) -> None:
    """Stores the field as an int, or says in which interval it must lie."""
    value = getattr(config, name)
    if value is None and optional:
        return
    number = _whole(value)
    if number is None or number < low or (high is not None and number > high):
        condition = f"{name} >= {low}" if high is None else f"{low} <= {name} <= {high}"
        subject = f"{type(config).__name__} (a whole number)"
        raise ConfigError.unmet(condition, subject, **{name: value})
    _set(config, name, number)


def _float(value: object) -> float:
    """The value as a float, NaN for what is no number."""
    if isinstance(value, bool | str | bytes):
        return math.nan
    try:
        return float(cast("float", value))
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _whole(value: object) -> int | None:
    """The value as an int, None for what is no whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = _float(value)
    return int(number) if number.is_integer() else None


def _widths(hidden: object) -> tuple[int, ...]:
    values = list(hidden) if isinstance(hidden, Iterable) and not isinstance(hidden, str) else None
    widths = [_whole(value) for value in values] if values is not None else [None]
    if any(width is None or width < 1 for width in widths):
        raise ConfigError.unmet("every width >= 1", "a list of hidden widths", hidden=hidden)
    return tuple(width for width in widths if width is not None)
