"""What the doctor finds: one line each, with its remedy and, where it is safe, its repair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from studies.errors import StudiesError
from sweeps.errors import SweepError

__all__ = ["Finding", "Level", "all_fine", "listed", "mended", "note", "problem"]

Level = Literal["ok", "note", "problem"]

_MOST_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: what was looked at, in a word.
        level: "ok", "note" (worth knowing, stops nothing) or "problem".
        message: what is so.
        study: the study that it is about; None for the whole database.
        remedy: what to do about it.
        repair: does that where it is safe, and returns what it did.
        fixed: what was done about it.
    """

    check: str
    level: Level
    message: str
    study: str | None = None
    remedy: str | None = None
    repair: Callable[[], str] | None = field(default=None, repr=False, compare=False)
    fixed: str | None = None


def all_fine(check: str, message: str, study: str | None = None) -> Finding:
    """A check that found nothing."""
    return Finding(check=check, level="ok", message=message, study=study)


def note(
    check: str,
    message: str,
    remedy: str | None = None,
    *,
    study: str | None = None,
    repair: Callable[[], str] | None = None,
) -> Finding:
    """Something worth knowing, that stops nothing."""
    return Finding(
        check=check, level="note", message=message, study=study, remedy=remedy, repair=repair
    )


def problem(
    check: str,
    message: str,
    remedy: str | None,
    *,
    study: str | None = None,
    repair: Callable[[], str] | None = None,
) -> Finding:
    """Something that is wrong."""
    return Finding(
        check=check, level="problem", message=message, study=study, remedy=remedy, repair=repair
    )


def mended(finding: Finding) -> Finding:
    """The finding after its repair, if it has one; one that fails leaves it as it was."""
    if finding.repair is None:
        return finding
    try:
        done = finding.repair()
    except (StudiesError, SweepError, OSError) as error:
        return replace(finding, message=f"{finding.message}; it could not be fixed: {error}")
    return replace(finding, level="ok", fixed=done)


def listed(items: Sequence[object], count: int | None = None) -> str:
    """The first few, and how many more there are: "1, 2, 3 and 5 more"."""
    total = len(items) if count is None else count
    shown = list(items[:_MOST_LISTED])
    text = ", ".join(map(str, shown))
    return text if total <= len(shown) else f"{text} and {total - len(shown)} more"
