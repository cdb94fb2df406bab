"""A trial's settings as the part of a spec that trains it again."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

_SECTIONS: Final = ("model", "objective", "train")

_UNREAD: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "hidden": ("family", ("linear", "conv", "resnet")),
    "sigma2": (
        "likelihood",
        (
            "gaussian_optimal",
            "gaussian_pixel",
            "bernoulli",
            "continuous_bernoulli",
            "beta",
            "laplace",
            "discretized_logistic",
            "categorical256",
            "mse",
            "bce",
        ),
    ),
    "beta": ("regulariser", ("capacity", "wae_mmd", "geco")),
    "annealing_unit": ("annealing", ("constant",)),
}
"""The settings with a value that no trial reads where another one of their section has one of these.

A spec refuses them there. All other settings are None where nothing reads them.
tests/sweeps/test_settings_toml.py holds the table against the configurations, and loads every
combination again.
"""


def settings_toml(config: Mapping[str, Any]) -> str:
    """Returns the sections ``[model]``, ``[objective]`` and ``[train]`` of a trial in TOML.

    With a study's name and its data they are a spec of that one trial. Settings that are None are
    left out: TOML has no null, and they mean "the default". So are those that the trial does not
    read, which a spec would refuse.

    Args:
        config: The trial's whole configuration, as stored.
    """
    sections = [_section(name, config[name]) for name in _SECTIONS if config.get(name)]
    return "\n".join(sections)


def _section(name: str, settings: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in settings.items() if _is_read(key, settings)}
    lines = [f"{_key(key)} = {_value(v)}\n" for key, v in kept.items() if v is not None]
    return f"[{name}]\n" + "".join(lines)


def _is_read(key: str, settings: Mapping[str, Any]) -> bool:
    decider, values = _UNREAD.get(key, ("", ()))
    return settings.get(decider) not in values


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + pairs + " }"
    return _text(str(value))


def _number(value: float) -> str:
    """Returns the shortest digits that read back as the same number."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)


def _text(value: str) -> str:
    """Returns a basic string of TOML: JSON's, but for the one control character JSON lets pass."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
