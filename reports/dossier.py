"""What a report knows of a study: everything that it reads from the database, read once."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np

from reports.distortion import DistortionMeasure, measure_named
from studies.database import Database
from studies.errors import QueryError
from studies.fronts import check_common_axis, front_of, hypervolume
from studies.queries import artifacts_of, epochs_of, latents_of, query_trials
from studies.records import (
    ArtifactRecord,
    EpochRecord,
    LatentRecord,
    StudyRecord,
    TrialRecord,
)
from studies.study_records import get_study

SHOWN: Final = 8
"""How many front trials the training and reconstruction figures have room for."""
TRAVERSAL_KINDS: Final = ("traversals", "traversal_latents")


@final
@dataclass(frozen=True, kw_only=True)
class Dossier:
    """A study with its trials in order of number, and what the database holds of them.

    Epochs, latents, reconstructions, samples and traversals are keyed by trial number and may
    lack trials; traversals then by kind.
    """

    study: StudyRecord
    trials: tuple[TrialRecord, ...]
    epochs: Mapping[int, Sequence[EpochRecord]]
    latents: Mapping[int, Sequence[LatentRecord]]
    reconstructions: Mapping[int, ArtifactRecord]
    samples: Mapping[int, ArtifactRecord]
    traversals: Mapping[int, Mapping[str, ArtifactRecord]] = field(default_factory=dict)

    @property
    def measure(self) -> DistortionMeasure:
        """The distortion that the study's front is drawn in."""
        return measure_named(self.study.distortion)

    @property
    def reference(self) -> tuple[float, float]:
        """The hypervolume's reference point: nats, and the unit of the distortion."""
        return self.study.rate_reference_nats, self.study.distortion_reference

    @property
    def refusal(self) -> str | None:
        """Why the trials cannot share a plane, or None if they can."""
        if self.measure.kind != "nll":
            return None
        try:
            check_common_axis(trial.likelihood for trial in self.measured())
        except QueryError as error:
            return str(error)
        return None

    def measured(self) -> tuple[TrialRecord, ...]:
        """Returns the complete trials with a finite rate and distortion."""
        return tuple(trial for trial in self.trials if self._is_measured(trial))

    def front(self) -> tuple[TrialRecord, ...]:
        """Returns the trials that no other dominates, from low to high rate."""
        if self.refusal is not None:
            return ()
        trials = self.measured()
        mask = front_of(self._points(trials))
        members = [trial for trial, on_front in zip(trials, mask, strict=True) if on_front]
        return tuple(sorted(members, key=lambda trial: (trial.rate_nats or 0.0, trial.number)))

    def hypervolume(self) -> float | None:
        """Returns the area between front and reference, or None where there is no plane."""
        if self.refusal is not None:
            return None
        return hypervolume(self._points(self.measured()), self.reference)

    def collapsed(self) -> tuple[TrialRecord, ...]:
        """Returns the complete trials without an active unit."""
        return tuple(t for t in self.trials if t.state == "complete" and t.collapsed)

    def shown_front(self, most: int = SHOWN) -> tuple[TrialRecord, ...]:
        """Returns at most so many front trials, evenly along the front, with both of its ends."""
        return spread(self.front(), most)

    def traversed(self) -> TrialRecord | None:
        """Returns the trial whose latents are shown: the middle one of the front's active ones."""
        active = [trial for trial in self.front() if trial.active_units]
        return active[len(active) // 2] if active else None

    def _is_measured(self, trial: TrialRecord) -> bool:
        rate, distortion = trial.rate_nats, self.measure.of(trial)
        known = rate is not None and math.isfinite(rate) and distortion is not None
        return trial.state == "complete" and known

    def _points(self, trials: Sequence[TrialRecord]) -> list[tuple[float, float]]:
        return [(trial.rate_nats or 0.0, self.measure.of(trial) or 0.0) for trial in trials]


def spread(trials: Sequence[TrialRecord], most: int) -> tuple[TrialRecord, ...]:
    """Returns at most so many of the trials, at even steps, with the first and the last."""
    if len(trials) <= most:
        return tuple(trials)
    places = np.linspace(0, len(trials) - 1, most).round().astype(int)
    return tuple(trials[place] for place in places)


def gather_dossier(database: Database, study_name: str) -> Dossier:
    """Returns what a report shows of a study, read in as many statements however large it is.

    Raises:
        StudyNotFound: There is no study of that name.
    """
    study = get_study(database, study_name)
    trials = tuple(query_trials(database, study_name, order_by="number"))
    bare = Dossier(
        study=study, trials=trials, epochs={}, latents={}, reconstructions={}, samples={}
    )
    front = {trial.number for trial in bare.front()}
    drawn = front | {trial.number for trial in bare.collapsed()}
    pictured = {trial.number for trial in bare.shown_front()}
    traversed = bare.traversed()
    return replace(
        bare,
        epochs=epochs_of(database, study_name, drawn),
        latents=latents_of(database, study_name, front),
        reconstructions=artifacts_of(database, study_name, "reconstructions", pictured),
        samples=artifacts_of(database, study_name, "samples", pictured),
        traversals=_traversals(database, study_name, {traversed.number} if traversed else set()),
    )


def _traversals(
    database: Database, study_name: str, numbers: Collection[int]
) -> Mapping[int, Mapping[str, ArtifactRecord]]:
    """Returns the pictures and the latents of the trials that stored both."""
    pictures, latents = (
        artifacts_of(database, study_name, kind, numbers) for kind in TRAVERSAL_KINDS
    )
    return {
        number: dict(zip(TRAVERSAL_KINDS, (pictures[number], latents[number]), strict=True))
        for number in pictures
        if number in latents
    }
