"""Which settings of a search with a list of points are the same model, counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Self, final

from sweeps.equivalence import WEIGHTS, canonical
from sweeps.fields import FIELDS, Value
from sweeps.samplers import choose_sampler
from sweeps.settings import Fixed
from sweeps.space import Space
from sweeps.spec import Spec
from sweeps.tree import tree_points

__all__ = ["ListedModels", "is_listed"]

_MOST = 10_000
"""The largest number of settings that is counted: a fifth of a second."""

_DECIDERS = {field.condition.field for field in FIELDS.values() if field.condition}
_COUNTING = _DECIDERS | {"beta", *WEIGHTS.values(), "sigma2", "latent_dim", "batch_size"}
"""Fixed fields that the meaning of searched ones depends on, beside the reduction."""


@final
class ListedModels:
    """Every setting of a space, and what it is up to the scale of its loss.

    Args:
        settings: Each setting's values, by field, beta in canonical units.
    """

    def __init__(self, settings: Iterable[Mapping[str, Value]]) -> None:
        self._settings = [(frozenset(canonical(one).items()), one) for one in settings]

    @classmethod
    def of(cls, spec: Spec, space: Space) -> Self | None:
        """Those of a spec; None where it has no list of settings, or too long a one."""
        gridded = _is_grid(spec, space)
        size = space.grid_size if gridded else space.size
        if size is None or size > _MOST:
            return None
        kept = {
            name: setting
            for name, setting in spec.settings.items()
            if not isinstance(setting, Fixed) or name in _COUNTING or name == "reduction"
        }
        points = tree_points(kept, lambda s: s.grid_points() if gridded else s.points())
        return cls(space.in_canonical_units(point) for point in points)

    def __len__(self) -> int:
        return len(self._settings)

    @property
    def repeated(self) -> int:
        """How many settings are the same model as another one."""
        groups = Counter(model for model, _ in self._settings)
        return sum(count for count in groups.values() if count > 1)

    def repeated_over(self, field: str, others: Sequence[str]) -> int:
        """How many settings are the same model as one of another value of a field.

        Args:
            field: The field that must differ between the two.
            others: Fields that may.
        """
        groups = defaultdict(list)
        for model, one in self._settings:
            rest = tuple(pair for pair in one.items() if pair[0] not in (field, *others))
            groups[model, rest].append(one.get(field))
        return sum(len(values) for values in groups.values() if len(set(values)) > 1)


def is_listed(spec: Spec, space: Space) -> bool:
    """Whether a spec's settings are so many, not all between two numbers."""
    return (space.grid_size if _is_grid(spec, space) else space.size) is not None


def _is_grid(spec: Spec, space: Space) -> bool:
    return choose_sampler(spec.study.sampler, space, spec.study.trials).name == "grid"
