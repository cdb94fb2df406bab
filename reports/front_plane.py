"""The rate–distortion plane of a study as a record: its trials, its front and its bounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from reports.axis_limits import AxisLimits, far_limit, limits_of
from reports.distortion import DistortionMeasure
from reports.dossier import Dossier
from reports.numbers_text import short
from reports.varied_settings import marked_setting, setting_of
from studies.rate_distortion import shannon_distortion
from studies.records import StudyRecord

_CURVE_POINTS: Final = 241
_MARKED_WORDS: Final = {
    "regulariser": "the regulariser beside the reconstruction",
    "likelihood": "the likelihood",
    "prior": "the prior",
    "posterior": "the encoder's covariance",
    "annealing": "the annealing schedule",
    "family": "the network family",
    "reduction": "the reduction of its loss",
}
_LABEL_ROOM: Final = 0.09
"""Room left of R = 0 for the numbers of the trials there, as a share of the axis."""


@final
@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """One complete trial on the plane; rate in nats, distortion in the study's unit.

    `kind` is its value of the setting that the markers tell apart; `beta` is None where the
    regulariser reads none.
    """

    number: int
    rate_nats: float
    distortion: float
    beta: float | None
    kind: str
    collapsed: bool
    on_front: bool


@final
@dataclass(frozen=True, kw_only=True)
class FrontPlane:
    """All that the front figure shows.

    `bound` is the Shannon curve as (rate, distortion) pairs, empty where D is no squared error;
    `elbo_levels` are values of D + R in nats, empty where D is no NLL. `gaussian_source` says that
    the bound is that of the source itself, below which nothing lies, and not of a sample.
    `marked` is the setting that the shapes of the markers stand for.
    """

    measure: DistortionMeasure
    points: tuple[FrontPoint, ...]
    rates: AxisLimits
    distortions: AxisLimits
    bound: tuple[tuple[float, float], ...]
    elbo_levels: tuple[float, ...]
    gaussian_source: bool
    marked: str = "reduction"

    def front(self) -> tuple[FrontPoint, ...]:
        """Returns the points on the front, from low to high rate."""
        members = (point for point in self.points if point.on_front)
        return tuple(sorted(members, key=lambda point: (point.rate_nats, -point.distortion)))

    def outside(self) -> tuple[int, ...]:
        """Returns the numbers of the trials that lie beyond the limits of an axis."""
        return tuple(point.number for point in self.points if not self.shows(point))

    def shows(self, point: FrontPoint) -> bool:
        """Returns whether a point lies within the limits of both axes."""
        return self.rates.contain(point.rate_nats) and self.distortions.contain(point.distortion)


def front_plane(dossier: Dossier) -> FrontPlane:
    """Returns the front figure's record for a study, also for one without complete trials."""
    marked = marked_setting(dossier.measured())
    points = tuple(_points(dossier, marked))
    rates = _rate_limits(points, dossier)
    source = _source_spectrum(dossier.study)
    bound = _bound(source or dossier.study.spectrum, dossier.measure, rates.high)
    distortions = _distortion_limits(points, bound, dossier.measure)
    return FrontPlane(
        measure=dossier.measure,
        points=points,
        rates=rates,
        distortions=distortions,
        bound=bound,
        elbo_levels=_elbo_levels(points, rates, distortions, dossier.measure),
        gaussian_source=source is not None,
        marked=marked,
    )


def caption_of(plane: FrontPlane) -> str:
    """Returns how to read the figure, in sentences for a newcomer."""
    sentences = [
        (
            "Each marker is one complete trial, measured on held-out data at β = 1: to the left is "
            "cheaper (fewer nats through the latents), lower is more faithful. The staircase joins "
            "the front: the trials that no other trial beats in both. Colour is the canonical β that "
            f"the trial was trained with, shape {_MARKED_WORDS[plane.marked]}."
        )
    ]
    if plane.distortions.log:
        sentences.append("The axis of D is logarithmic.")
    if any(point.beta is None for point in plane.points):
        sentences.append("Grey markers have no β: their regulariser is not a weighted KL.")
    if any(point.collapsed for point in plane.points):
        sentences.append("A cross marks a collapsed trial: no latent unit is active.")
    if plane.bound:
        sentences.append(_bound_sentence(plane))
    if plane.elbo_levels:
        sentences.append(
            "Grey lines join points of equal D + R, that is of equal ELBO: the trial that touches "
            "the lowest line has the best ELBO."
        )
    if plane.outside():
        sentences.append(_outside_sentence(plane))
    return " ".join(sentences)


def alt_of(plane: FrontPlane) -> str:
    """Returns what the figure shows, for those who cannot see it."""
    if not plane.points:
        return "Rate–distortion plane without any trial yet."
    front = plane.front()
    text = f"Rate–distortion plane with {len(plane.points)} complete trials"
    if front:
        first, last = front[0], front[-1]
        text += (
            f", {len(front)} of them on the front, which runs from R = {short(first.rate_nats)} "
            f"nats, D = {short(first.distortion)} to R = {short(last.rate_nats)} nats, "
            f"D = {short(last.distortion)} ({plane.measure.unit})"
        )
    return text + "."


def _points(dossier: Dossier, marked: str) -> list[FrontPoint]:
    on_front = {trial.number for trial in dossier.front()}
    points = []
    for trial in dossier.measured():
        distortion = dossier.measure.of(trial)
        if distortion is not None and trial.rate_nats is not None:
            point = FrontPoint(
                number=trial.number,
                rate_nats=trial.rate_nats,
                distortion=distortion,
                beta=trial.beta,
                kind=setting_of(trial, marked),
                collapsed=bool(trial.collapsed),
                on_front=trial.number in on_front,
            )
            points.append(point)
    return points


def _rate_limits(points: Sequence[FrontPoint], dossier: Dossier) -> AxisLimits:
    """Returns limits from zero to at least one nat, and further before there is any trial."""
    least = 1.0 if points else 5.0 * math.log1p(len(dossier.study.spectrum))
    limits = limits_of([p.rate_nats for p in points], may_be_log=False, from_zero=True)
    high = max(limits.high, least)
    return replace(limits, low=-_LABEL_ROOM * high if points else 0.0, high=high)


def _distortion_limits(
    points: Sequence[FrontPoint],
    bound: Sequence[tuple[float, float]],
    measure: DistortionMeasure,
) -> AxisLimits:
    """Returns limits around the trials and, if it is not far above them, D without any code."""
    distortions = [point.distortion for point in points]
    if bound:
        at_zero_rate = bound[0][1]
        near = not distortions or far_limit(distortions) > at_zero_rate / 4
        distortions += [at_zero_rate] if near or len(distortions) < 3 else []
    squared = measure.kind == "se"
    return limits_of(distortions, may_be_log=squared, from_zero=squared)


def _source_spectrum(study: StudyRecord) -> tuple[float, ...] | None:
    """Returns the eigenvalues that Gaussian data were drawn with, None for all other data.

    Those of the training split differ by chance: a point may lie below their curve.
    """
    if study.data.get("name") != "gaussian":
        return None
    spectrum = study.spec.get("data", {}).get("spectrum")
    return tuple(map(float, spectrum)) if spectrum else None


def _bound(
    spectrum: Sequence[float], measure: DistortionMeasure, highest_rate: float
) -> tuple[tuple[float, float], ...]:
    if measure.kind != "se" or not any(spectrum):
        return ()
    even = np.linspace(0.0, highest_rate, _CURVE_POINTS)
    small = np.geomspace(highest_rate / 1e5, highest_rate, _CURVE_POINTS)  # it is steep there
    rates = np.union1d(even, small)
    return tuple(zip(rates.tolist(), shannon_distortion(spectrum, rates).tolist(), strict=True))


def _elbo_levels(
    points: Sequence[FrontPoint],
    rates: AxisLimits,
    distortions: AxisLimits,
    measure: DistortionMeasure,
) -> tuple[float, ...]:
    """Returns about five round values of D + R that cross the part of the plane that is drawn."""
    if measure.kind != "nll" or not points:
        return ()
    lowest = min(point.rate_nats + point.distortion for point in points)
    corner, highest = rates.low + distortions.low, rates.high + distortions.high
    values = _round_values(lowest, highest, 6)
    return tuple(value for value in values if corner <= value < highest)


def _round_values(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough)) if rough > 0 else 1.0
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [float(value) for value in np.arange(np.floor(low / step) * step, high, step)]


def _bound_sentence(plane: FrontPlane) -> str:
    if plane.gaussian_source:
        return (
            "The dashed line is the Shannon bound of this Gaussian source (reverse "
            "water-filling): no encoder and decoder of any kind can lie below it, but for chance "
            "in the held-out sample."
        )
    return (
        "The dashed line is the Shannon bound of a Gaussian with the covariance of the training "
        "data (reverse water-filling). It is what a linear code reaches: real data can be coded "
        "better, so trials may lie below it, and a trial above it does worse than a linear code "
        "of as many latents as it needs."
    )


def _outside_sentence(plane: FrontPlane) -> str:
    outside = plane.outside()
    named = ", ".join(map(str, outside[:12])) + (", …" if len(outside) > 12 else "")
    if len(outside) == 1:
        return f"The axes leave out 1 trial that lies far off (number {named})."
    return f"The axes leave out {len(outside)} trials that lie far off (numbers {named})."
