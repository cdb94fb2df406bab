"""A spec as it is written: a TOML file, and the overrides of the command line laid over it."""

import json
import re
import shlex
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from sweeps.errors import SpecError
from sweeps.fields import FIELDS, Field

__all__ = ["override", "read_document"]

_BARE = re.compile(r"[\w./:+@%~?=&-]+", re.ASCII)


def read_document(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The sections of the spec at `path`, with the overrides laid over them.

    Args:
        path: A TOML file.
        overrides: Lines such as ``train.epochs=5`` or ``space.beta={low=0.1, high=10}``. What one
            of them fixes is no longer searched, and the other way round; what the file says of
            fields that count under other values of an overridden one only is dropped.

    Raises:
        SpecError: The file or an override cannot be read.
    """
    document = _read_file(Path(path))
    problems = [problem for line in overrides if (problem := _override(document, line))]
    if problems:
        raise SpecError(problems)
    _drop_unread(document, {line.partition("=")[0].split(".")[1].strip() for line in overrides})
    return document


def override(key: str, text: str) -> str:
    """The option of the command line that sets a key to a text, fit to be pasted into a shell."""
    try:
        is_plain = _read_value(text) == text
    except tomllib.TOMLDecodeError:
        is_plain = False
    value = text if is_plain else json.dumps(text, ensure_ascii=False)
    return f"--set {shlex.quote(f'{key}={value}')}"


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SpecError([_missing(path)]) from None
    except UnicodeDecodeError as error:
        raise SpecError(
            [f"a spec must be UTF-8 text, but {path} is not ({error.reason})."]
        ) from error
    except OSError as error:
        raise SpecError([f"the spec {path} must be readable, but: {error.strerror}."]) from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError([f"a spec must be TOML, but got: {error}."], path.name) from error


def _missing(path: Path) -> str:
    near = sorted(path.parent.glob("*.toml")) if path.parent.is_dir() else []
    if near:
        hint = "did you mean " + " or ".join(str(found) for found in near[:3]) + "?"
    else:
        hint = "write one with `rdsweep init`."
    return f"the spec must exist, but there is no file {path}; {hint}"


def _override(document: dict[str, Any], line: str) -> str | None:
    """Lays one override over the document; its problem where it cannot be read."""
    dotted, separator, text = line.partition("=")
    keys = [key.strip() for key in dotted.split(".")]
    if not separator or len(keys) < 2 or not all(keys):
        return f"--set {line}: an override must be `section.key=value`, such as train.epochs=5."
    try:
        value = _read_value(text.strip())
    except tomllib.TOMLDecodeError as error:
        return f"--set {line}: the value must be TOML, but got {text.strip()!r} ({error})."
    _place(document, keys, value)
    return None


def _read_value(text: str) -> object:
    """The value of an override: TOML, or a plain word without its quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if _BARE.fullmatch(text):
            return text
        raise


def _place(document: dict[str, Any], keys: Sequence[str], value: object) -> None:
    _drop_rival(document, keys)
    table = document
    for key in keys[:-1]:
        inner = table.get(key)
        if not isinstance(inner, dict):
            inner = table[key] = {}
        table = inner
    table[keys[-1]] = value


def _drop_rival(document: dict[str, Any], keys: Sequence[str]) -> None:
    """Removes the field from [space] if it is now fixed, from its section if it is now searched."""
    field = FIELDS.get(keys[1])
    if field is None:
        return
    rivals = {"space": field.section, field.section: "space"}
    rival = document.get(rivals.get(keys[0], ""))
    if isinstance(rival, dict):
        rival.pop(field.name, None)


def _drop_unread(document: dict[str, Any], overridden: Collection[str]) -> None:
    """Removes what the file says of fields that no trial reads since others were overridden."""
    for field in FIELDS.values():
        condition = field.condition
        if condition is None or condition.field not in overridden or field.name in overridden:
            continue
        values = _values(document, FIELDS[condition.field])
        if values and not any(value in condition.values for value in values):
            for section in ("space", field.section):
                if isinstance(document.get(section), dict):
                    document[section].pop(field.name, None)


def _values(document: dict[str, Any], field: Field) -> list[Any]:
    """The known names that a document lets a field have; none where one of them is not known."""
    for section in ("space", field.section):
        table = document.get(section)
        if isinstance(table, dict) and field.name in table:
            value = table[field.name]
            found = value.get("choices", value.get("value")) if isinstance(value, dict) else value
            values = found if isinstance(found, list) else [found]
            return values if all(value in (field.known or ()) for value in values) else []
    return []
