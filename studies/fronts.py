"""Pareto fronts and hypervolumes in two dimensions, exact, with both coordinates minimised.

`front_of` and `hypervolume` know points only; `study_front` reads a study's trials.

A point with a NaN or an infinity stands for a trial without a result: it is never on a front, adds
no hypervolume and dominates nothing.

Reference: E. Zitzler and L. Thiele 1998, "Multiobjective optimization using evolutionary
algorithms" (the hypervolume).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast, final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import select

from studies.database import Database
from studies.errors import QueryError
from studies.queries import trials_by_number
from studies.records import Distortion, TrialRecord
from studies.retries import retried
from studies.study_records import get_study, study_id_of
from studies.tables import TrialRow

DISTORTION_COLUMNS: Final[Mapping[Distortion, str]] = MappingProxyType(
    {"se": "distortion_se", "nll": "distortion_nll_nats"}
)
"""The column of each distortion a study can choose."""

LIKELIHOOD_MEASURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gaussian": "a Gaussian density",
        "gaussian_learned": "a Gaussian density",
        "gaussian_optimal": "a Gaussian density",
        "gaussian_pixel": "a Gaussian density",
        "bernoulli": "binary probabilities",
        "continuous_bernoulli": "a continuous Bernoulli density",
        "beta": "a beta density",
        "laplace": "a Laplace density",
        "discretized_logistic": "probabilities of 256 levels",
        "categorical256": "probabilities of 256 levels",
        "mse": "a Gaussian density",
        "bce": "binary probabilities",
    }
)
"""What each likelihood gives to an image: NLLs in nats compare within one such family only."""


@final
@dataclass(frozen=True, kw_only=True)
class Front:
    """The trials of a study that no other trial dominates in (R, D).

    Attributes:
        study: Name of the study.
        distortion: Which distortion D is: "se", or "nll" in nats.
        trials: The trials on the front, by ascending rate.
        complete: How many trials were compared.
        rate_reference_nats: Rate of the hypervolume's reference point.
        distortion_reference: Distortion of the reference point.
        hypervolume: Area that the front dominates inside the reference point, nats times D.
    """

    study: str
    distortion: Distortion
    trials: tuple[TrialRecord, ...]
    complete: int
    rate_reference_nats: float
    distortion_reference: float
    hypervolume: float

    @property
    def points(self) -> list[tuple[float, float]]:
        """(R, D) of each trial."""
        pairs = [
            (t.rate_nats, getattr(t, DISTORTION_COLUMNS[self.distortion])) for t in self.trials
        ]
        return cast("list[tuple[float, float]]", pairs)


@retried
def study_front(database: Database, name: str) -> Front:
    """Return the front of a study's complete trials, in the distortion that the study chose.

    Raises:
        StudyNotFound: If there is no such study.
        QueryError: If D is the NLL and the trials' likelihoods measure different things.
    """
    study = get_study(database, name)
    numbers, points = _results(database, name, study.distortion)
    reference = study.rate_reference_nats, study.distortion_reference
    on_front = [number for number, is_on in zip(numbers, front_of(points), strict=True) if is_on]
    trials = trials_by_number(database, name, on_front).values()
    return Front(
        study=name,
        distortion=study.distortion,
        trials=tuple(sorted(trials, key=lambda trial: (trial.rate_nats or 0.0, trial.number))),
        complete=len(numbers),
        rate_reference_nats=reference[0],
        distortion_reference=reference[1],
        hypervolume=hypervolume(points, reference),
    )


def _results(
    database: Database, study: str, distortion: Distortion
) -> tuple[list[int], list[tuple[float, float]]]:
    """Return number and (R, D) of each complete trial."""
    column = TrialRow.__table__.c[DISTORTION_COLUMNS[distortion]]
    with database.read() as connection:
        rows = connection.execute(
            select(TrialRow.number, TrialRow.likelihood, TrialRow.rate_nats, column)
            .where(TrialRow.study_id == study_id_of(connection, study))
            .where(TrialRow.state == "complete")
            .order_by(TrialRow.number)
        ).all()
    if distortion == "nll":
        check_common_axis(row.likelihood for row in rows)
    return [row[0] for row in rows], [(row[2], row[3]) for row in rows]


def check_common_axis(likelihoods: Iterable[str]) -> None:
    """Pass if the NLLs of these likelihoods can be compared.

    Raises:
        QueryError: If they are of several families, as densities and probabilities are.
    """
    found = sorted(set(likelihoods))
    if len({LIKELIHOOD_MEASURES.get(likelihood, likelihood) for likelihood in found}) > 1:
        raise QueryError(
            "The trials of an nll front must have likelihoods of one family, but got "
            f"{' and '.join(found)}, whose nats do not compare; use the distortion se."
        )


def front_of(points: ArrayLike) -> Bool[np.ndarray, " point"]:
    """Return which points no other point dominates; O(n log n).

    One point dominates another if it is no worse in both coordinates and better in one. So points
    that are equal do not dominate each other: all copies of a point on the front are kept.

    Args:
        points: (R, D) of each trial, shape [point, 2].
    """
    array = _points(points)
    usable = np.flatnonzero(np.isfinite(array).all(axis=1))
    order = usable[np.lexsort((array[usable, 1], array[usable, 0]))]
    x, y = array[order].T
    same_x = np.searchsorted(x, x, side="left")  # where the points of the same x start
    best_before = np.append(np.inf, np.minimum.accumulate(y))[same_x]
    mask = np.zeros(len(array), dtype=bool)
    mask[order] = (y == y[same_x]) & (y < best_before)
    return mask


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the exact area that the points dominate inside the reference point.

    Points beyond the reference in either coordinate add nothing.

    Args:
        points: (R, D) of each trial, shape [point, 2].
        reference: (R, D) of the corner that is worst in both.

    Raises:
        ValueError: If the points are no pairs, or the reference is not finite.
    """
    corner = _reference(reference)
    array = _points(points)
    steps = np.unique(array[front_of(array) & (array < corner).all(axis=1)], axis=0)
    if len(steps) == 0:
        return 0.0
    widths = np.diff(steps[:, 0], append=corner[0])
    return float(widths @ (corner[1] - steps[:, 1]))


def hypervolume_history(
    points: ArrayLike, reference: tuple[float, float]
) -> Float[np.ndarray, " point"]:
    """Return the hypervolume of the first 1, 2, … n points: how a search went on, never falling.

    Args:
        points: (R, D) of each trial in the order of finishing, shape [point, 2].
        reference: (R, D) of the corner that is worst in both.

    Raises:
        ValueError: If the points are no pairs, or the reference is not finite.
    """
    _reference(reference)
    staircase = _Staircase(reference)
    gains = [staircase.add(x, y) for x, y in _points(points).tolist()]
    return np.cumsum(np.array(gains, dtype=np.float64))


class _Staircase:
    """A front that grows: x ascends and y descends strictly, all of it inside the reference."""

    def __init__(self, reference: tuple[float, float]) -> None:
        self.right, self.top = reference
        self.xs: list[float] = []
        self.ys: list[float] = []

    def add(self, x: float, y: float) -> float:
        """Take a point in and return the area that only it dominates."""
        inside = -np.inf < x < self.right and -np.inf < y < self.top  # false for NaN
        before = bisect_right(self.xs, x)  # the points with no larger x
        if not inside or (before and self.ys[before - 1] <= y):
            return 0.0
        first = bisect_left(self.xs, x)
        last = bisect_right(self.ys, -y, lo=first, key=lambda value: -value)
        gain = self._area_above(x, y, first, last)
        self.xs[first:last], self.ys[first:last] = [x], [y]
        return gain

    def _area_above(self, x: float, y: float, first: int, last: int) -> float:
        """Return the area between the point and the steps first … last − 1 that it replaces."""
        lefts = [x, *self.xs[first:last]]
        rights = [*self.xs[first:last], self.xs[last] if last < len(self.xs) else self.right]
        heights = [self.ys[first - 1] if first else self.top, *self.ys[first:last]]
        return sum(
            (right - left) * (height - y)
            for left, right, height in zip(lefts, rights, heights, strict=True)
        )


def _points(points: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"Points must be pairs, shape [n, 2], but got shape {array.shape}.")
    return array


def _reference(reference: tuple[float, float]) -> NDArray[np.float64]:
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (2,) or not np.isfinite(corner).all():
        raise ValueError(f"A reference must be two finite numbers, but got {reference}.")
    return corner
