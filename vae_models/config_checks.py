"""Checks of one field of a frozen configuration: each normalises it or says what must hold."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, cast

from vae_models.errors import ConfigError

__all__ = [
    "as_float",
    "as_whole",
    "check_choice",
    "check_integer",
    "check_number",
    "check_numbers",
    "set_field",
    "settle_parameters",
]

_ALWAYS_SET = ("sigma2", "beta")  # parameters that have a value also where nothing reads them


def set_field(config: object, name: str, value: object) -> None:
    """Sets a field of a frozen dataclass; only while it is made."""
    object.__setattr__(config, name, value)


def settle_parameters(
    config: object,
    decider: str,
    parameters: Mapping[str, tuple[str, ...]],
    defaults: Mapping[str, float | int | str],
) -> None:
    """Fills in the defaults of the parameters that are read, and refuses the others.

    Args:
        config: The configuration under construction.
        decider: The field whose value decides which parameters are read.
        parameters: The names of the parameters that each value of the decider reads.
        defaults: What a parameter takes that is read and left out; None if it is not listed.

    Raises:
        ConfigError: A parameter is given that nothing reads.
    """
    read = parameters.get(getattr(config, decider), ())
    for name in sorted({name for names in parameters.values() for name in names}):
        if name not in read:
            _refuse_unread(config, name, decider, parameters)
        elif getattr(config, name) is None:
            set_field(config, name, defaults.get(name))


def _refuse_unread(
    config: object, name: str, decider: str, parameters: Mapping[str, tuple[str, ...]]
) -> None:
    value = getattr(config, name)
    if value is None or name in _ALWAYS_SET:
        return
    readers = " or ".join(repr(reader) for reader, names in parameters.items() if name in names)
    raise ConfigError(
        f"`{name}` is a parameter of {decider} {readers} and must be left out otherwise, "
        f"but got {name}={value!r} with {decider}={getattr(config, decider)!r}."
    )


def check_choice(
    config: object, name: str, known: Sequence[str], *, optional: bool = False
) -> None:
    """Says which names the field can take, if it has none of them."""
    value = getattr(config, name)
    if value is None and optional:
        return
    if value not in known:
        raise ConfigError.unknown(name, value, known)


def check_number(
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
    number = as_float(value)
    above = number > low if open_low else number >= low
    if not (math.isfinite(number) and above and number <= high):
        condition = f"{low:g} {'<' if open_low else '<='} {name} {_upper(high)}"
        raise ConfigError.unmet(condition, _subject(config), **{name: value})
    set_field(config, name, number)


def check_numbers(config: object, name: str, *, low: float, high: float = math.inf) -> None:
    """Stores the field as a tuple of floats, or says in which interval each must lie."""
    value = getattr(config, name)
    items = value if isinstance(value, list | tuple) else (math.nan,)
    numbers = tuple(map(as_float, items))
    if not all(low <= number <= high and math.isfinite(number) for number in numbers):
        condition = f"{low:g} <= {name}[i] {_upper(high)}"
        raise ConfigError.unmet(condition, f"{_subject(config)} (a list)", **{name: value})
    set_field(config, name, numbers)


def _upper(high: float) -> str:
    return "< inf" if high == math.inf else f"<= {high:g}"


def check_integer(
    config: object, name: str, *, low: int, high: int | None = None, optional: bool = False
) -> None:
    """Stores the field as an int, or says in which interval it must lie."""
    value = getattr(config, name)
    if value is None and optional:
        return
    number = as_whole(value)
    if number is None or number < low or (high is not None and number > high):
        condition = f"{name} >= {low}" if high is None else f"{low} <= {name} <= {high}"
        subject = f"{_subject(config)} (a whole number)"
        raise ConfigError.unmet(condition, subject, **{name: value})
    set_field(config, name, number)


def _subject(config: object) -> str:
    """What messages call the configuration: its ``described_as``, else the name of its class."""
    return str(getattr(config, "described_as", type(config).__name__))


def as_float(value: object) -> float:
    """The value as a float, NaN for what is no number."""
    if isinstance(value, bool | str | bytes):
        return math.nan
    try:
        return float(cast("float", value))
    except (TypeError, ValueError, OverflowError):
        return math.nan


def as_whole(value: object) -> int | None:
    """The value as an int, None for what is no whole number."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(cast("Any", value))
    except TypeError:
        number = as_float(value)
        return int(number) if number.is_integer() else None
