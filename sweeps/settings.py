"""What a spec can say of one field: a fixed value, a choice of several, or a range."""

import math
from abc import ABC, abstractmethod
from typing import Any, final

from pydantic import BaseModel, ConfigDict

from sweeps.fields import Value, plain

__all__ = ["LARGEST_GRID", "Choice", "Fixed", "Range", "Setting"]

LARGEST_GRID = 100_000
"""The largest number of points that is ever listed at once."""


class Setting(BaseModel, ABC):
    """One field's place in the search.

    Attributes:
        unit: The unit of its numbers; only beta has another one than "canonical".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str = "canonical"

    @property
    @abstractmethod
    def bounds(self) -> tuple[Value, ...]:
        """The values that decide whether all of it is allowed: every choice, or both ends."""

    @property
    @abstractmethod
    def size(self) -> int | None:
        """How many values it has; None for infinitely many."""

    @property
    @abstractmethod
    def grid_size(self) -> int | None:
        """How many values it has on a grid; None where `grid_points` has none."""

    @abstractmethod
    def points(self) -> tuple[Value, ...] | None:
        """All its values in order; None where there are infinitely many."""

    @abstractmethod
    def grid_points(self) -> tuple[Value, ...] | None:
        """Its values on a grid; None where a range has neither a step nor a number of points."""

    @abstractmethod
    def at(self, share: float) -> Value:
        """The value that lies at a share (0 <= share < 1) of the way through all of them."""

    @abstractmethod
    def to_plain(self) -> object:
        """The setting as a spec has it, of types that TOML and JSON know."""


@final
class Fixed(Setting):
    """One value for all trials."""

    value: Value

    @property
    def bounds(self) -> tuple[Value, ...]:
        """The value."""
        return (self.value,)

    @property
    def size(self) -> int:
        """One."""
        return 1

    @property
    def grid_size(self) -> int:
        """One."""
        return 1

    def points(self) -> tuple[Value, ...]:
        """The value."""
        return (self.value,)

    def grid_points(self) -> tuple[Value, ...]:
        """The value."""
        return (self.value,)

    def at(self, share: float) -> Value:  # noqa: ARG002 - one value lies everywhere
        """The value."""
        return self.value

    def to_plain(self) -> object:
        """The value, or a table with its unit."""
        value = plain(self.value)
        return value if self.unit == "canonical" else {"value": value, "unit": self.unit}


@final
class Choice(Setting):
    """A few values, without an order between them."""

    choices: tuple[Value, ...]

    @property
    def bounds(self) -> tuple[Value, ...]:
        """Every choice."""
        return self.choices

    @property
    def size(self) -> int:
        """The number of choices."""
        return len(self.choices)

    @property
    def grid_size(self) -> int:
        """The number of choices."""
        return len(self.choices)

    def points(self) -> tuple[Value, ...]:
        """Every choice."""
        return self.choices

    def grid_points(self) -> tuple[Value, ...]:
        """Every choice."""
        return self.choices

    def at(self, share: float) -> Value:
        """The choice in whose equal part of [0, 1) the share lies."""
        return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]

    def to_plain(self) -> object:
        """The list, or a table with its unit."""
        choices = [plain(value) for value in self.choices]
        return choices if self.unit == "canonical" else {"choices": choices, "unit": self.unit}


@final
class Range(Setting):
    """The numbers between two ends, both included.

    Attributes:
        low: The lower end.
        high: The upper end; a step that does not end there stops short of it.
        log: Whether the logarithm is spread evenly.
        step: The distance between neighbours; None for every number.
        count: How many points a grid has on it (`points` in a spec).
        whole: Whether only whole numbers count.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None
    count: int | None = None
    whole: bool = False

    @property
    def bounds(self) -> tuple[Value, ...]:
        """Both ends."""
        return (self.low, self.high)

    @property
    def reach(self) -> int | float:
        """The largest number that the range holds: `high`, or the last step before it."""
        if self.step is None:
            return self.high
        return self._stepped(self._steps)

    @property
    def size(self) -> int | None:
        """The number of its `points`, without listing them: there may be billions of seeds."""
        if self.step is not None:
            return self._steps + 1
        return int(self.high) - int(self.low) + 1 if self.whole else None

    @property
    def grid_size(self) -> int | None:
        """The number of its `grid_points`; whole numbers that coincide count once."""
        if self.count is None:
            return self.size
        return len(self.grid_points() or ())

    def points(self) -> tuple[Value, ...] | None:
        """Every number of a range with a step, or of whole numbers."""
        if self.step is not None:
            return tuple(self._stepped(index) for index in range(self._steps + 1))
        if self.whole:
            return tuple(range(int(self.low), int(self.high) + 1))
        return None

    def grid_points(self) -> tuple[Value, ...] | None:
        """`count` numbers with even distances (of the logarithms, if `log`), else `points()`."""
        if self.count is None:
            return self.points()
        shares = (index / (self.count - 1) for index in range(self.count))
        return tuple(dict.fromkeys(self._between(share) for share in shares))

    def at(self, share: float) -> Value:
        """The number at a share of the range; numbers of a discrete one are equally likely.

        Whole numbers on a log scale are as likely as their part of the scale is long, as in
        Optuna's own distributions.
        """
        if self.step is not None:
            return self._stepped(min(int(share * (self._steps + 1)), self._steps))
        if not self.whole:
            return self._between(share)
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            number = round(math.exp(low + share * (high - low)))
        else:
            number = int(self.low) + int(share * (int(self.high) - int(self.low) + 1))
        return min(max(number, int(self.low)), int(self.high))

    def to_plain(self) -> dict[str, Any]:
        """The table, without what was not said."""
        optional = {"step": self.step, "points": self.count}
        plain = {"low": self.low, "high": self.high, "log": self.log}
        plain |= {name: value for name, value in optional.items() if value is not None}
        return plain if self.unit == "canonical" else {**plain, "unit": self.unit}

    @property
    def _steps(self) -> int:
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9)

    def _stepped(self, index: int) -> int | float:
        number = self.low + index * (self.step or 1)
        return number if self.whole else float(f"{min(number, self.high):.12g}")

    def _between(self, share: float) -> int | float:
        if self.log:
            number = self.low * (self.high / self.low) ** share
        else:
            number = self.low + share * (self.high - self.low)
        number = min(max(number, self.low), self.high)
        return round(number) if self.whole else float(number)
