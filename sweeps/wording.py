"""The words of the spec's problems: what was got, and what was probably meant."""

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = ["ended", "nearest", "shown"]


def nearest(word: str, known: Sequence[str]) -> str:
    """A question for the known word that is nearest to this one; empty where none is near."""
    found = get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def shown(value: object) -> str:
    """A value as TOML has it, with its type where that is what went wrong."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}" (a string)'
        case dict():
            return "a table"
        case _:
            return repr(value)


def ended(sentence: str) -> str:
    """The sentence with a full stop, unless it ends as a question or has one."""
    return sentence if sentence.endswith(("?", ".", "…")) else f"{sentence}."
