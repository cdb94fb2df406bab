"""Which settings tell the trials of a study apart, in words."""

from collections.abc import Iterable, Sequence
from typing import Final

from studies.records import TrialRecord

NAMED_SETTINGS: Final = (
    "regulariser",
    "likelihood",
    "prior",
    "posterior",
    "annealing",
    "family",
    "reduction",
)
"""Settings with a name for a value, the one that matters most first."""

_MOST_TOLD_APART: Final = 8


def setting_of(trial: TrialRecord, name: str) -> str:
    """Returns a trial's value of one of `NAMED_SETTINGS`."""
    return str(getattr(trial, name))


def varied_settings(trials: Iterable[TrialRecord]) -> dict[str, tuple[str, ...]]:
    """Returns the values of every named setting that has between two and eight, sorted."""
    trials = tuple(trials)
    values = {name: sorted({setting_of(t, name) for t in trials}) for name in NAMED_SETTINGS}
    return {n: tuple(found) for n, found in values.items() if 2 <= len(found) <= _MOST_TOLD_APART}


def marked_setting(trials: Sequence[TrialRecord]) -> str:
    """Returns the setting that markers tell apart: the first that varies, else the reduction."""
    return next(iter(varied_settings(trials)), "reduction")
