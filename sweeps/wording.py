"""Words for messages: what was got, what was probably meant, and how many."""

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = ["counted", "ended", "nearest", "shown"]


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


def counted(count: int, noun: str) -> str:
    """So many things, as "1 worker" or "2 workers"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
