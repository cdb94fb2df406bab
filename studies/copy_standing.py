"""Which of two copies of a study has got further, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from studies.copy_side import Side
from studies.copy_tables import Mark


@final
@dataclass
class Standing:
    """What a comparison of two copies has found; each trial as "trial 7", None if there is none.

    Attributes:
        shared: How many trials are the same one in both.
        source_ahead: The first trial that has got further in the source.
        target_ahead: The first that has got further in the target.
        apart: The first that is another one in each, or has become something else in each.
    """

    shared: int = 0
    source_ahead: str | None = None
    target_ahead: str | None = None
    apart: str | None = None

    @property
    def both_ahead(self) -> str | None:
        """A trial which shows that both copies were worked on."""
        return self.apart or (self.target_ahead if self.source_ahead else None)

    def add(self, trial: str, source: Mark | None, target: Mark | None) -> None:
        """Compares a trial, which one of the two may lack."""
        if source is None or target is None:
            source_ahead, target_ahead = target is None, source is None
        elif source.identity != target.identity or _fork(source.history, target.history):
            self.apart = self.apart or trial
            return
        else:
            self.shared += 1
            source_ahead, target_ahead = _is_ahead(source, target), _is_ahead(target, source)
        if source_ahead:
            self.source_ahead = self.source_ahead or trial
        if target_ahead:
            self.target_ahead = self.target_ahead or trial


def standing_of(source: Side, target: Side) -> Standing:
    """Compares all trials of a study at the source and at the target, some at a time."""
    standing = Standing()
    label = source.tables.label
    for keys in source.index.chunks():
        here, there = source.marks(keys), target.marks(target.index.keys_of(keys))
        for number in keys:
            standing.add(f"{label} {number}", here[number], there.get(number))
    for keys in target.index.chunks():
        known = source.index.keys_of(keys)
        missing = {number: key for number, key in keys.items() if number not in known}
        for number, mark in target.marks(missing).items():
            standing.add(f"{label} {number}", None, mark)
    return standing


def _fork(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    """Whether neither history is the beginning of the other."""
    common = min(len(one), len(other))
    return one[:common] != other[:common]


def _is_ahead(one: Mark, other: Mark) -> bool:
    further = any(mine > theirs for mine, theirs in zip(one.progress, other.progress, strict=True))
    return further or len(one.history) > len(other.history)
