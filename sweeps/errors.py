"""The errors of this package: each states what must hold, then what was got."""

from collections.abc import Iterable

__all__ = ["SpaceError", "SpecError", "SuggestionError", "SweepError", "SweepWarning"]


class SweepError(Exception):
    """Base class of everything that `sweeps` raises on purpose."""


class SpecError(SweepError):
    """A spec that cannot be run; every problem is one line.

    Args:
        problems: The lines: dotted key, what must hold, what was got, what was probably meant.
        source: Where the spec came from, as its file name; empty for one from the database.
    """

    def __init__(self, problems: Iterable[str], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        prefix = f"{self.source}: " if self.source else ""
        return "\n".join(prefix + problem for problem in self.problems)


class SpaceError(SweepError):
    """A search space that cannot do what was asked of it."""


class SuggestionError(SweepError):
    """Optuna's memory of a study and our record of it do not fit together."""


class SweepWarning(UserWarning):
    """Something about a sweep that its user should know of, and that stops nothing."""
