"""What the configurations of `vae_models` say against a setting, before any trial is made of it."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.fields import FIELDS, Field
from sweeps.settings import Fixed, Setting
from vae_models.config import ANNEALING_UNITS

__all__ = ["can_count", "key_of", "objection_to"]

Settings = Mapping[str, Setting]

_LARGEST_CONVERTED = 1e20  # times any number of pixels, still below the largest canonical beta
_PARTNERS = {"milestones": "milestone_weights", "milestone_weights": "milestones"}
"""Fields that no configuration takes one without the other."""


def can_count(name: str, settings: Settings) -> bool:
    """Whether some trial of these settings reads the field."""
    condition = FIELDS[name].condition
    if condition is None:
        return True
    return any(value in condition.values for value in settings[condition.field].bounds)


def key_of(name: str, setting: Setting) -> str:
    """The dotted key under which a setting stands in a normalised spec."""
    return FIELDS[name].key if isinstance(setting, Fixed) else f"space.{name}"


def objection_to(name: str, settings: Settings) -> str | None:
    """What is to be said first against a field's setting; None where every trial of it can be made.

    Names are left out: those that are known can all be, and which of them go together is judged
    by `sweeps.spec_rules`.

    Args:
        name: A field that can count.
        settings: Of all fields.
    """
    field, partner = FIELDS[name], _PARTNERS.get(name)
    if field.known is not None or (partner is not None and partner not in settings):
        return None
    return _objection(field, settings) or _unit_objection(settings[name])


def _objection(field: Field, settings: Settings) -> str | None:
    contexts = list(_contexts(field, settings))
    for value in settings[field.name].bounds:
        verdicts = [(context, field.objection(value, context)) for context in contexts]
        for context, objection in verdicts:
            if objection is not None and _is_about(field, objection):
                met_elsewhere = any(other is None for _, other in verdicts)
                return _narrowed(objection, context) if met_elsewhere else objection
    return None


def _contexts(field: Field, settings: Settings) -> Iterator[dict[str, Any]]:
    """Every combination of values of other fields under which the field's own are judged."""
    judges: dict[str, tuple[Any, ...]] = {}
    if field.condition is not None:
        judges[field.condition.field] = field.condition.values
    if "annealing" in judges:
        judges["annealing_unit"] = ANNEALING_UNITS
    possible = {
        name: [value for value in settings[name].bounds if value in allowed]
        for name, allowed in judges.items()
    }
    if field.name in _PARTNERS:
        possible[_PARTNERS[field.name]] = list(settings[_PARTNERS[field.name]].bounds)
    return (
        dict(zip(possible, values, strict=True))
        for values in itertools.product(*possible.values())
    )


def _is_about(field: Field, objection: str) -> bool:
    """Whether the field is the one to blame, and not the partner that it is judged with."""
    partner = _PARTNERS.get(field.name)
    if partner is None or partner not in objection:
        return True
    return field.name in objection.partition(partner)[0]


def _narrowed(objection: str, context: Mapping[str, Any]) -> str:
    """The objection with the values of other fields under which alone it holds."""
    where = " and ".join(f"{name} is {value!r}" for name, value in context.items())
    return f"{objection.removesuffix('.')} where {where}."


def _unit_objection(setting: Setting) -> str | None:
    """Why a beta in another unit may have no finite canonical value."""
    if setting.unit == "canonical":
        return None
    largest = max(float(str(value)) for value in setting.bounds)
    if largest <= _LARGEST_CONVERTED:
        return None
    condition = f"`beta <= {_LARGEST_CONVERTED:g}` must hold for unit {setting.unit!r}"
    return f"{condition}, but got beta={largest!r}."
