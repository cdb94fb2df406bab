"""What may change in a spec while its study goes on, and what would mix incomparable trials."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.fields import FIELDS, plain
from sweeps.spec_document import override
from vae_models.evaluation_config import EvaluationConfig

__all__ = ["changes", "comparable"]

_FREE_DATA_KEYS = ("root", "download")  # where the files lie; a checksum guards what is in them
_FREE_RANGE_KEYS = ("low", "high", "points")

_Place = tuple[str, Any]  # a dotted key, and what a spec says there

_DEFAULTS: Mapping[str, _Place] = {
    f"evaluation.{key}": (f"evaluation.{key}", value)
    for key, value in EvaluationConfig().to_dict().items()
} | {name: (field.key, plain(field.default)) for name, field in FIELDS.items()}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The changes between two specs after which their trials would not compare; a line each.

    Free to change are the number of trials, the sampler and its seed, where the study and its
    files are kept, `dedupe`, [run], and the ends and grid points of numeric ranges. What one spec
    leaves out and the other has at its default is the same: a study that an earlier version made
    goes on though that version did not know the field.

    Args:
        old: `Spec.to_dict` of the study.
        new: `Spec.to_dict` of the spec to go on with.
    """
    name = str(new["study"]["name"])
    return [f"{change}; {_way_on(name)}" for change in _differences(old, new)]


def comparable(document: Mapping[str, Any]) -> dict[str, Any]:
    """What must stay the same of a spec for its trials to compare: all that `changes` looks at.

    Defaults are left out, so that it is the same in a version that knows more fields.

    Args:
        document: `Spec.to_dict` of the spec.
    """
    places = {subject: _fixed_part(place) for subject, place in _places(document).items()}
    return {subject: place for subject, place in places.items() if place != _DEFAULTS.get(subject)}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    was, now = _places(old), _places(new)
    before, after = comparable(old), comparable(new)
    for subject in {**was, **now}:
        if before.get(subject) != after.get(subject):
            key, _ = now.get(subject) or was[subject]
            absent = (key, _implied(subject))
            yield _line(key, was.get(subject, absent)[1], now.get(subject, absent)[1])


def _implied(subject: str) -> object:
    """What a spec that does not name a field means by that."""
    always_counts = subject not in FIELDS or FIELDS[subject].condition is None
    return _DEFAULTS[subject][1] if always_counts and subject in _DEFAULTS else "nothing"


def _places(document: Mapping[str, Any]) -> dict[str, _Place]:
    """Where and what a spec says of everything that decides whether trials compare."""
    places = {"distortion": ("study.distortion", document["study"]["distortion"])}
    for key, value in document["data"].items():
        if key not in _FREE_DATA_KEYS:
            places[f"data.{key}"] = (f"data.{key}", value)
    for key, value in document.get("evaluation", {}).items():
        places[f"evaluation.{key}"] = (f"evaluation.{key}", value)
    for name, field in FIELDS.items():
        for section in ("space", field.section):
            if name in document[section]:
                places[name] = (f"{section}.{name}", document[section][name])
                break
    return places


def _fixed_part(place: _Place) -> _Place:
    """What must stay the same of it: of a range, neither its ends nor its grid."""
    key, value = place
    if isinstance(value, Mapping):
        kept = {name: part for name, part in value.items() if name not in _FREE_RANGE_KEYS}
        return key, {"range": "low" in value, **kept}
    return key, value


def _line(key: str, before: object, after: object) -> str:
    return f"{key}: must stay the same within a study, but was {before!r} and is now {after!r}"


def _way_on(name: str) -> str:
    stem, number = re.fullmatch(r"(.*?)(?:-(\d+))?", name).groups()  # type: ignore[union-attr]
    next_name = f"{stem}-{int(number or 1) + 1}"
    return f"go on under a new name: {override('study.name', next_name)}"
