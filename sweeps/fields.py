"""The fields of a trial that a spec can fix or search: their types, names and conditions.

Everything here is read off the configurations of `vae_models`, so that a field added there can be
searched without a word here; only the conditions between fields are written down.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
from typing import Any, Literal, cast, final, get_type_hints

from sweeps.wording import ended, nearest, shown
from vae_models.config import (
    ANNEALING_UNITS,
    FAMILIES,
    LIKELIHOODS,
    LR_SCHEDULES,
    SCHEDULE_PARAMETERS,
    SCHEDULES,
    ModelConfig,
    ObjectiveConfig,
    TrainConfig,
)
from vae_models.errors import ConfigError
from vae_models.objective import REDUCTIONS

__all__ = ["BETA_NAMES", "FIELDS", "SECTIONS", "Condition", "Field", "Value"]

Value = str | int | float | tuple[int, ...]
Kind = Literal["str", "int", "float", "ints"]

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

_KNOWN: Mapping[str, tuple[str, ...]] = {
    "family": FAMILIES,
    "likelihood": LIKELIHOODS,
    "reduction": REDUCTIONS,
    "annealing": SCHEDULES,
    "annealing_unit": ANNEALING_UNITS,
    "lr_schedule": LR_SCHEDULES,
}

_EXPECTED: Mapping[str, str] = {
    "str": "a name in quotes",
    "int": "a whole number",
    "float": "a number",
    "ints": "a list of whole numbers",
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
        default: Its value where nothing is said; None where `vae_models` works one out.
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
    if isinstance(value, bool):
        return None
    if kind == "str":
        return value if isinstance(value, str) else None
    if kind == "int":
        return value if isinstance(value, int) else None
    if kind == "float":
        is_number = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if is_number else None  # type: ignore[arg-type]
    items = value if isinstance(value, list | tuple) else (None,)
    widths = tuple(item for item in items if isinstance(item, int) and type(item) is not bool)
    return widths if len(widths) == len(items) else None


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
    if kind == "ints" and isinstance(value, int) and not isinstance(value, bool):
        return f"; write [{value}]"
    if kind == "str" and isinstance(value, int | float):
        return f'; write "{value}"'
    return ""


def _conditions() -> dict[str, Condition]:
    conditions = {
        "hidden": Condition(field="family", values=("mlp",)),
        "sigma2": Condition(field="likelihood", values=("gaussian", "gaussian_learned")),
        "annealing_unit": Condition(
            field="annealing", values=tuple(name for name in SCHEDULES if name != "constant")
        ),
    }
    for schedule, parameters in SCHEDULE_PARAMETERS.items():
        for name in parameters:
            conditions[name] = Condition(field="annealing", values=(schedule,))
    return conditions


def _fields() -> dict[str, Field]:
    conditions = _conditions()
    found = {}
    for section, config in SECTIONS.items():
        hints = get_type_hints(config)
        for field in fields_of(config):
            found[field.name] = Field(
                name=field.name,
                section=section,
                kind=_kind(hints[field.name]),
                default=cast("Value | None", field.default),
                known=_KNOWN.get(field.name),
                condition=conditions.get(field.name),
            )
    return found


def _kind(hint: object) -> Kind:
    for base, kind in ((int, "int"), (float, "float"), (str, "str")):
        if hint in (base, base | None):
            return kind  # type: ignore[return-value]
    return "ints"


FIELDS: Mapping[str, Field] = _fields()
"""All fields by name, in an order in which a condition's field comes before the fields under it."""
