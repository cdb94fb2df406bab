"""What each setting did: the measured trials, grouped by all that was searched but the seed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final, final

from reports.dossier import Dossier
from reports.numbers_text import trimmed
from studies.records import TrialRecord

_MOST_GROUPS: Final = 64
_SEED: Final = "seed"


@final
@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and standard deviation over the trials of a group; no deviation for a lone one."""

    mean: float
    deviation: float | None

    def text(self) -> str:
        """Returns ``mean ± standard deviation`` in a few digits."""
        if self.deviation is None:
            return trimmed(self.mean, 4)
        return f"{trimmed(self.mean, 4)} ± {trimmed(self.deviation, 2)}"


@final
@dataclass(frozen=True, kw_only=True)
class Group:
    """The trials of one setting.

    Attributes:
        values: The searched settings, in the order of `Comparison.columns`; a dash where unread.
        trials: How many were measured.
        rate_nats: R.
        distortion: D in the study's unit.
        active_units: Active latents.
        collapsed: How many trials have no active latent.
    """

    values: tuple[str, ...]
    trials: int
    rate_nats: Spread
    distortion: Spread
    active_units: Spread
    collapsed: int


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All groups of a study, and the names of the settings that tell them apart."""

    columns: tuple[str, ...]
    groups: tuple[Group, ...]


def compare(dossier: Dossier) -> Comparison | None:
    """Returns the settings side by side, or None where there are too many or nothing differs."""
    trials = dossier.measured()
    columns = _columns(trials)
    members: dict[tuple[str, ...], list[TrialRecord]] = {}
    for trial in trials:
        values = tuple(_text(trial.parameters.get(name)) for name in columns)
        members.setdefault(values, []).append(trial)
    if not columns or not 2 <= len(members) <= _MOST_GROUPS:
        return None
    groups = [_group(dossier, values, found) for values, found in members.items()]
    return Comparison(columns=columns, groups=tuple(sorted(groups, key=_order)))


def _columns(trials: Sequence[TrialRecord]) -> tuple[str, ...]:
    """The searched settings that differ between these trials, in the order of the first trial."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    return tuple(
        name
        for name in names
        if name != _SEED and len({_text(t.parameters.get(name)) for t in trials}) > 1
    )


def _group(dossier: Dossier, values: tuple[str, ...], trials: Sequence[TrialRecord]) -> Group:
    return Group(
        values=values,
        trials=len(trials),
        rate_nats=_spread([trial.rate_nats or 0.0 for trial in trials]),
        distortion=_spread([dossier.measure.of(trial) or 0.0 for trial in trials]),
        active_units=_spread([float(trial.active_units or 0) for trial in trials]),
        collapsed=sum(bool(trial.collapsed) for trial in trials),
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean=fmean(values), deviation=stdev(values) if len(values) > 1 else None)


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    if value is None:
        return "–"
    if isinstance(value, float):
        return trimmed(value, 4)
    return value if isinstance(value, str) else json.dumps(value)


def _order(group: Group) -> list[tuple[int, float, str]]:
    """Numbers by size, before names."""
    return [_sort_key(value) for value in group.values]


def _sort_key(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value.replace("−", "-")), ""
    except ValueError:
        return 1, 0.0, value
