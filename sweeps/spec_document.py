"""A spec as it is written: a TOML file, and the overrides of the command line laid over it."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.errors import SpecError
from sweeps.fields import FIELDS

__all__ = ["read_document"]

_BARE = re.compile(r"[\w./:+@%~?=&-]+", re.ASCII)


def read_document(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The sections of the spec at `path`, with the overrides laid over them.

    Args:
        path: A TOML file.
        overrides: Lines such as ``train.epochs=5`` or ``space.beta={low=0.1, high=10}``. What one
            of them fixes is no longer searched, and the other way round.

    Raises:
        SpecError: The file or an override cannot be read.
    """
    document = _read_file(Path(path))
    problems = [problem for line in overrides if (problem := _override(document, line))]
    if problems:
        raise SpecError(problems)
    return document


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
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError as error:
        value = text.strip()
        if not _BARE.fullmatch(value):
            return f"--set {line}: the value must be TOML, but got {value!r} ({error})."
    _place(document, keys, value)
    return None


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
