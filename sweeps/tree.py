"""The tree that settings form: some count only under certain values of those before them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from sweeps.fields import FIELDS, Value
from sweeps.settings import Setting

__all__ = ["holds", "tree_points", "tree_size"]

_CONDITION_FIELDS = {f.condition.field for f in FIELDS.values() if f.condition is not None}


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
    return _size(list(settings), settings, sizes, {})


def tree_points(
    settings: Mapping[str, Setting], points_of: Callable[[Setting], tuple[Value, ...] | None]
) -> Iterator[dict[str, Value]]:
    """Every way to choose a value for each field that counts, the last one changing fastest.

    Args:
        settings: By field, in the order of `FIELDS`.
        points_of: The values that a setting is taken to have.
    """
    return _points(list(settings), settings, points_of, {})


def _size(
    names: Sequence[str],
    settings: Mapping[str, Setting],
    sizes: Mapping[str, int],
    chosen: Mapping[str, Value],
) -> int:
    if not names:
        return 1
    name, rest = names[0], names[1:]
    if not holds(name, chosen):
        return _size(rest, settings, sizes, chosen)
    if name not in _CONDITION_FIELDS:
        return sizes[name] * _size(rest, settings, sizes, chosen)
    values = settings[name].bounds  # conditions are on names, and names come in choices
    return sum(_size(rest, settings, sizes, {**chosen, name: value}) for value in values)


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
