"""Random examples that share the value of one factor, drawn from a finite sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FactorSamples", "sampled_factors", "varied_factors"]

_CHUNK = 1 << 20  # numbers held at one time

Codes: TypeAlias = NDArray[np.float64]


def varied_factors(factors: NDArray[np.int64]) -> list[int]:
    """The factors that take two or more values in these examples, [n, F]."""
    return [k for k, column in enumerate(factors.T) if len(np.unique(column)) > 1]


def sampled_factors(factors: NDArray[np.int64]) -> list[int]:
    """The varied factors of which two examples share a value: those that can be held fixed."""
    return [k for k in varied_factors(factors) if _largest_group(factors[:, k]) > 1]


def _largest_group(values: NDArray[np.int64]) -> int:
    return int(np.unique(values, return_counts=True)[1].max())


@final
@dataclass(frozen=True, kw_only=True)
class FactorSamples:
    """Sets of examples; those of one set share the value of one factor.

    Attributes:
        fixed: Which of the given factors it is, for each set, [sets].
        first: Indices of examples, [sets, L].
        second: Partners of the first: other examples with the same value, [sets, L].
    """

    fixed: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @classmethod
    def draw(
        cls,
        factors: NDArray[np.int64],
        *,
        sets: int,
        size: int,
        generator: np.random.Generator,
    ) -> "FactorSamples":
        """Sets drawn with replacement: a factor at random, then a value as often as it occurs.

        Values of a single example are never drawn.

        Args:
            factors: Classes, [n, F], of `sampled_factors` only.
            sets: How many.
            size: L, the examples (and their partners) in each.
            generator: Of the draws.
        """
        fixed = generator.integers(factors.shape[1], size=sets)
        pairs = np.empty((2, sets, size), np.int64)
        for k, values in enumerate(factors.T):
            (members,) = np.nonzero(fixed == k)
            pairs[:, members] = _pairs(values, len(members), size, generator)
        return cls(fixed=fixed, first=pairs[0], second=pairs[1])

    def describe(self, codes: Codes, statistic: Callable[[Codes, Codes], Codes]) -> Codes:
        """A number for each set and latent, [sets, M].

        Args:
            codes: Of all examples, [n, M].
            statistic: Makes [sets, M] of the first examples' codes and their partners', each
                [sets, L, M]; it is called with some sets at a time.
        """
        sets, size = self.first.shape
        described = np.empty((sets, codes.shape[1]))
        rows = max(1, _CHUNK // (size * codes.shape[1]))
        for start in range(0, sets, rows):
            part = slice(start, start + rows)
            described[part] = statistic(codes[self.first[part]], codes[self.second[part]])
        return described


def _pairs(
    values: NDArray[np.int64], sets: int, size: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of examples and of their partners, [2, sets, size]."""
    order = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[order], return_index=True, return_counts=True)
    weights = np.where(counts > 1, counts, 0)
    groups = generator.choice(len(counts), size=(sets, 1), p=weights / weights.sum())
    start, count = starts[groups], counts[groups]
    first = generator.integers(count, size=(sets, size))
    second = (first + generator.integers(1, count, size=(sets, size))) % count
    pairs: NDArray[np.int64] = order[np.stack([start + first, start + second])]
    return pairs
