"""The fields of a trial that a spec can fix or search: their types, names and conditions.

Everything here is read off the configurations of `vae_models` and their tables, so that a field
added there can be searched without a word here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any, Literal, TypeVar, cast, final, get_type_hints

from sweeps.wording import ended, nearest, shown
from vae_models.config import (
    ANNEALING_UNITS,
    DEFAULTS,
    FAMILIES,
    LIKELIHOOD_PARAMETERS,
    LIKELIHOODS,
    LR_SCHEDULES,
    OUTPUT_ACTIVATIONS,
    POSTERIORS,
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
)
from vae_models.errors import ConfigError
from vae_models.objective import REDUCTIONS

__all__ = [
    "BETA_NAMES",
    "FIELDS",
    "LISTS",
    "REQUIRED",
    "SECTIONS",
    "Condition",
    "Field",
    "Value",
    "plain",
]

Value = str | int | float | tuple[int, ...] | tuple[float, ...]
Kind = Literal["str", "int", "float", "ints", "floats"]
_Item = TypeVar("_Item", int, float)

LISTS: tuple[Kind, ...] = ("ints", "floats")
"""The kinds whose values are lists."""

SECTIONS: Mapping[str, type[ModelConfig] | type[ObjectiveConfig] | type[TrainConfig]] = {
    "model": ModelConfig,
    "objective": ObjectiveConfig,
    "train": TrainConfig,
}

BETA_NAMES: Mapping[str, str] = {
    "canonical": "beta",
    "raw": "raw_weight",
    "beta_norm": "beta_norm",
}
"""The units in which a spec can give beta, and the parameter's name in each."""

REQUIRED: Mapping[str, str] = {
    "prior_scale": "0.5",
    "target_se": "10.0",
    "milestones": "[0.25, 0.5]",
    "milestone_weights": "[0.1, 1.0]",
}
"""Fields that have no default where something reads them, each with an example of a value."""

_KNOWN: Mapping[str, tuple[str, ...]] = {
    "family": FAMILIES,
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "likelihood": LIKELIHOODS,
    "output_activation": OUTPUT_ACTIVATIONS,
    "regulariser": REGULARISERS,
    "reduction": REDUCTIONS,
    "annealing": SCHEDULES,
    "annealing_unit": ANNEALING_UNITS,
    "ramp_shape": RAMP_SHAPES,
    "lr_schedule": LR_SCHEDULES,
}

_READERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "family": {"mlp": ("hidden",)},
    "prior": PRIOR_PARAMETERS,
    "likelihood": LIKELIHOOD_PARAMETERS,
    "regulariser": REGULARISER_PARAMETERS,
    "annealing": {
        name: (*parameters, *(() if name == "constant" else ("annealing_unit",)))
        for name, parameters in SCHEDULE_PARAMETERS.items()
    },
}
"""Which fields are read under each value of the fields that decide it."""

_EXPECTED: Mapping[str, str] = {
    "str": "a name in quotes",
    "int": "a whole number",
    "float": "a number",
    "ints": "a list of whole numbers",
    "floats": "a list of numbers",
}


@final
@dataclass(frozen=True, kw_only=True)
class Condition:
    """A field counts only where another one has one of these values."""

    field: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.field} is {' or '.join(map(repr, self.values))}"


@final
@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a trial's configuration.

    Attributes:
        name: Its name, unique over the sections.
        section: The section of the spec, and of `TrialConfig`, that it stands in.
        kind: The type of its values.
        default: Its value where it counts and nothing is said; None where `vae_models` works one
            out, or there is none.
        known: The names that it can take; None for numbers.
        condition: Where it counts; None for everywhere.
    """

    name: str
    section: str
    kind: Kind
    default: Value | None
    known: tuple[str, ...] | None
    condition: Condition | None

    @property
    def key(self) -> str:
        """The dotted key of a fixed value."""
        return f"{self.section}.{self.name}"

    def read(self, value: object) -> Value:
        """The value in the field's own type.

        Raises:
            ValueError: It has another type, or is none of the known names; the message is the
                condition, what was got and what was probably meant.
        """
        if self.known is not None and (not isinstance(value, str) or value not in self.known):
            names = ", ".join(map(repr, self.known))
            near = nearest(str(value), self.known)
            raise ValueError(ended(f"must be one of {names}, but got {shown(value)}{near}"))
        typed = _typed(self.kind, value)
        if typed is None:
            hint = _meant(self.kind, value)
            raise ValueError(f"must be {_EXPECTED[self.kind]}, but got {shown(value)}{hint}.")
        return typed

    def objection(self, value: Value, context: Mapping[str, Any]) -> str | None:
        """What the configuration of `vae_models` says against a value; None where it takes it.

        Args:
            value: A value of the field's own type.
            context: Other fields of the same section that the verdict depends on.
        """
        try:
            SECTIONS[self.section](**{**context, self.name: value})
        except ConfigError as error:
            return str(error)
        return None


def _typed(kind: Kind, value: object) -> Value | None:
    match kind:
        case "str":
            return value if isinstance(value, str) else None
        case "int":
            return _whole(value)
        case "float":
            return _number(value)
        case "ints":
            return _tuple(value, _whole)
        case "floats":
            return _tuple(value, _number)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _tuple(value: object, read: Callable[[object], _Item | None]) -> tuple[_Item, ...] | None:
    """The items of a list, each in its type; None where it is no list or one item is not."""
    items = [read(item) for item in value] if isinstance(value, list | tuple) else [None]
    typed = tuple(item for item in items if item is not None)
    return typed if len(typed) == len(items) else None


def _meant(kind: Kind, value: object) -> str:
    """The same value in the right type, where it is plain which one was meant."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        if kind == "float" or (kind == "int" and number.is_integer()):
            return f"; write {value.strip()} without quotes"
    if isinstance(value, float) and kind == "int" and value.is_integer():
        return f"; write {int(value)}"
    if kind in LISTS and isinstance(value, int | float) and not isinstance(value, bool):
        return f"; write [{value}]"
    if kind == "str" and isinstance(value, int | float):
        return f'; write "{value}"'
    return ""


def plain(value: Value | None) -> Any:  # noqa: ANN401 - what JSON and TOML hold
    """The value as TOML and JSON have it: a list for a tuple."""
    return list(value) if isinstance(value, tuple) else value


def _conditions() -> dict[str, Condition]:
    conditions: dict[str, Condition] = {}
    for decider, readers in _READERS.items():
        names = dict.fromkeys(name for parameters in readers.values() for name in parameters)
        for name in names:
            values = tuple(value for value in _KNOWN[decider] if name in readers.get(value, ()))
            conditions[name] = Condition(field=decider, values=values)
    return conditions


def _fields() -> dict[str, Field]:
    conditions = _conditions()
    found = {}
    for section, config in SECTIONS.items():
        hints = get_type_hints(config)
        for field in fields_of(config):
            default = DEFAULTS.get(field.name) if field.default is None else field.default
            found[field.name] = Field(
                name=field.name,
                section=section,
                kind=_kind(hints[field.name]),
                default=cast("Value | None", default),
                known=_KNOWN.get(field.name),
                condition=conditions.get(field.name),
            )
    return found


def _kind(hint: object) -> Kind:
    kinds: Mapping[object, Kind] = {
        int: "int",
        float: "float",
        str: "str",
        tuple[int, ...]: "ints",
        tuple[float, ...]: "floats",
    }
    return next(kind for base, kind in kinds.items() if hint in (base, base | None))  # type: ignore[operator]


FIELDS: Mapping[str, Field] = _fields()
"""All fields by name, in an order in which a condition's field comes before the fields under it."""
