"""Values that a record may hold: converted to plain Python ones on entry, or refused."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields
from functools import cache
from math import isfinite
from operator import index
from typing import Any, SupportsFloat, cast

from studies.errors import RecordError


class Checked:
    """Base of the records that callers make: numbers are normalised, and must be finite.

    `float()` and friends run on entry, so that a numpy scalar stores like the number it is; a
    NaN or an infinity raises `RecordError` here, long before it could reach a column.
    """

    def __post_init__(self) -> None:
        for name, convert, optional in _conversions(cast("Hashable", type(self))):
            value = getattr(self, name)
            if value is None and optional:
                continue
            try:
                object.__setattr__(self, name, convert(value))
            except (TypeError, ValueError, OverflowError) as error:
                must = f"{_CONDITIONS[convert]}({name})"
                raise RecordError(type(self).__name__, name, must, repr(value)) from error


def _finite(value: SupportsFloat) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError
    return number


def _finite_tuple(values: Iterable[SupportsFloat]) -> tuple[float, ...]:
    return tuple(map(_finite, values))


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    found = tuple(values)
    if isinstance(values, str) or not all(isinstance(value, str) for value in found):
        raise TypeError
    return found


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "float": _finite,
    "int": index,
    "bool": bool,
    "tuple[float, ...]": _finite_tuple,
    "tuple[str, ...]": _texts,
}
_CONDITIONS = {
    _finite: "isfinite",
    index: "isinteger",
    bool: "isbool",
    _finite_tuple: "isfinite",
    _texts: "istexts",
}


@cache
def _conversions(
    record: Any,  # noqa: ANN401  (a dataclass type, which typing cannot say)
) -> tuple[tuple[str, Callable[[Any], Any], bool], ...]:
    """Returns (field, converter, may be None) for each field of a plain type."""
    found = []
    for field in fields(record):
        kind, _, optional = str(field.type).partition(" | ")
        if kind in _CONVERT:
            found.append((field.name, _CONVERT[kind], optional == "None"))
    return tuple(found)
