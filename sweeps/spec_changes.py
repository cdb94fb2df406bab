"""What may change in a spec while its study goes on, and what would mix incomparable trials."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.fields import FIELDS

__all__ = ["changes"]

_FREE_DATA_KEYS = ("root", "download")  # where the files lie; a checksum guards what is in them
_FREE_RANGE_KEYS = ("low", "high")
_NOTHING: Any = "nothing"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The changes between two specs after which their trials would not compare; a line each.

    Free to change are the number of trials, the sampler and its seed, where the study and its
    files are kept, [run], and the ends of numeric ranges.

    Args:
        old: `Spec.to_dict` of the study.
        new: `Spec.to_dict` of the spec to go on with.
    """
    name = str(new["study"]["name"])
    return [f"{change}; {_way_on(name)}" for change in _differences(old, new)]


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before, after = old["study"]["distortion"], new["study"]["distortion"]
    if before != after:
        yield _line("study.distortion", before, after)
    keys = {**old["data"], **new["data"]}
    for key in keys:
        before, after = old["data"].get(key, _NOTHING), new["data"].get(key, _NOTHING)
        if before != after and key not in _FREE_DATA_KEYS:
            yield _line(f"data.{key}", before, after)
    for name in FIELDS:
        before, after = _place(old, name), _place(new, name)
        if _fixed_part(before) != _fixed_part(after):
            yield _line(after[0] if after[1] is not _NOTHING else before[0], before[1], after[1])


def _place(document: Mapping[str, Any], name: str) -> tuple[str, Any]:
    """Where a spec says something of a field, and what."""
    if name in document["space"]:
        return f"space.{name}", document["space"][name]
    section = FIELDS[name].section
    return f"{section}.{name}", document[section].get(name, _NOTHING)


def _fixed_part(place: tuple[str, Any]) -> tuple[str, Any]:
    """What must stay the same of it: all but the ends of a range."""
    key, value = place
    if isinstance(value, Mapping):
        kept = {name: part for name, part in value.items() if name not in _FREE_RANGE_KEYS}
        return key, {"range": "low" in value, **kept}
    return key, value


def _line(key: str, before: object, after: object) -> str:
    return f"{key}: must stay the same within a study, but was {before!r} and is now {after!r}"


def _way_on(name: str) -> str:
    stem, number = re.fullmatch(r"(.*?)(?:-(\d+))?", name).groups()  # type: ignore[union-attr]
    return f"go on under a new name: --set study.name={stem}-{int(number or 1) + 1}"
