"""The tree that settings form: some count only under certain values of those before them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from sweeps.fields import FIELDS, Field, Value
from sweeps.settings import Setting

__all__ = ["holds", "tree_points", "tree_size"]

_CHILDREN: Mapping[str, tuple[Field, ...]] = {
    name: tuple(f for f in FIELDS.values() if f.condition and f.condition.field == name)
    for name in dict.fromkeys(f.condition.field for f in FIELDS.values() if f.condition)
}
"""The fields that each field decides on; none of the deciding ones is under a condition itself."""


def holds(name: str, chosen: Mapping[str, Value]) -> bool:
    """Whether a field counts under the values chosen for those before it."""
    condition = FIELDS[name].condition
    return condition is None or chosen[condition.field] in condition.values


def tree_size(
    settings: Mapping[str, Setting], size_of: Callable[[Setting], int | None]
) -> int | None:
    """The number of ways to choose a value for each field that counts; None for infinitely many.

    Args:
        settings: By field, in the order of `FIELDS`.
        size_of: How many values a setting is taken to have; None for infinitely many.
    """
    sizes: dict[str, int] = {}
    for name, setting in settings.items():
        size = size_of(setting)
        if size is None:
            return None
        sizes[name] = size
    free = (n for n in settings if FIELDS[n].condition is None and n not in _CHILDREN)
    deciders = (name for name in settings if name in _CHILDREN)
    branches = (_branches(name, settings[name], sizes) for name in deciders)
    return math.prod(sizes[name] for name in free) * math.prod(branches)


def _branches(decider: str, setting: Setting, sizes: Mapping[str, int]) -> int:
    """The ways to choose a value of a deciding field and of all that count under it."""
    return sum(
        math.prod(
            sizes[child.name]
            for child in _CHILDREN[decider]
            if child.name in sizes and holds(child.name, {decider: value})
        )
        for value in setting.bounds  # conditions are on names, and names come in choices
    )


def tree_points(
    settings: Mapping[str, Setting], points_of: Callable[[Setting], tuple[Value, ...] | None]
) -> Iterator[dict[str, Value]]:
    """Every way to choose a value for each field that counts, the last one changing fastest.

    Args:
        settings: By field, in the order of `FIELDS`.
        points_of: The values that a setting is taken to have.
    """
    return _points(list(settings), settings, points_of, {})


def _points(
    names: Sequence[str],
    settings: Mapping[str, Setting],
    points_of: Callable[[Setting], tuple[Value, ...] | None],
    chosen: dict[str, Value],
) -> Iterator[dict[str, Value]]:
    if not names:
        yield chosen
        return
    name, rest = names[0], names[1:]
    if not holds(name, chosen):
        yield from _points(rest, settings, points_of, chosen)
        return
    for value in points_of(settings[name]) or ():
        yield from _points(rest, settings, points_of, {**chosen, name: value})
