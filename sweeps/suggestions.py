"""The one place where a study's trials are suggested: Optuna is asked, our queue is filled.

The way of a suggestion: ask -> parameters -> Optuna's trial, whole and marked as "suggested" -> row in
our queue. The way of an outcome: row in our record -> constraint -> tell -> `mark_told`. Every step
can be repeated, so whoever holds the sampler lease next finishes what a crash left half done.
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.database import Database
from studies.errors import SamplerLeaseLost
from studies.queries import query_trials
from studies.queue import add_trials, mark_told, untold_trials
from studies.records import TrialRecord
from studies.sampler_lease import acquire_sampler, extend_sampler, release_sampler
from studies.study_records import get_study
from sweeps.errors import SuggestionError
from sweeps.optuna_store import clear_optuna_faults, load_optuna_study, open_optuna_storage
from sweeps.pending_trials import PendingTrials
from sweeps.samplers import build_sampler, choose_sampler, quiet_optuna
from sweeps.settings import LARGEST_GRID
from sweeps.space import Parameters, Space, Suggestion, fingerprint
from sweeps.spec import Spec

__all__ = ["Refill", "SuggestionDesk"]

LEASE_SECONDS = 60.0
"""How long a desk may be silent, unless it is told otherwise."""

DIVERGED = "diverged"
"""The name of the constraint that a diverged trial violates (Optuna: feasible is at most zero)."""

_SUGGESTED = "rdsweep:suggested"
_DUPLICATE_OF = "rdsweep:duplicate_of"
_TRIES = 4  # a GP takes seconds for each, and mostly comes to the same point again
_RANDOM_TRIES = 100
"""For a space with a branch of a single point, which half of all random suggestions may hit."""


@final
@dataclass(frozen=True, kw_only=True)
class Refill:
    """What came of filling the queue.

    Attributes:
        queued: How many trials were added.
        exhausted: Whether the space has no point left that was not tried.
        held_elsewhere: Whether another worker holds the sampler lease, or took it over.
    """

    queued: int = 0
    exhausted: bool = False
    held_elsewhere: bool = False


@final
class SuggestionDesk:
    """Suggests the trials of one study, while it holds the sampler lease.

    Args:
        db: Our database.
        storage_url: Its URL, for Optuna.
        study: The study's name.
        spec: Its spec.
        pixels: N = C·H·W of its data.
        worker_id: Who holds the lease.
        examples: Size of its training split; None if it is not known.
        lease_seconds: How long the desk may be silent before another takes over.
        standing: Whether it keeps the lease between two calls, until `leave`; it holds it already.

    Raises:
        SuggestionError: There is no Optuna study of that name, or it is not ours.
    """

    def __init__(
        self,
        db: Database,
        storage_url: str,
        study: str,
        spec: Spec,
        pixels: int,
        worker_id: str,
        examples: int | None = None,
        lease_seconds: float = LEASE_SECONDS,
        standing: bool = False,
    ) -> None:
        self._db = db
        self._name = study
        self._spec = spec
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._standing = standing
        self._space = Space(spec, pixels, examples)
        self._storage = PendingTrials(open_optuna_storage(storage_url))
        self._optuna = load_optuna_study(self._storage, study)
        self._known: dict[str, int] = {}
        self._numbers: set[int] = set()
        self._asked = 0  # trials that Optuna has, rejected ones included
        self._extend_after = -math.inf
        self._untried: dict[bool, _UntriedPoints] = {}  # of the grid, of the whole space

    def settle(self) -> int:
        """Tells Optuna every outcome that it has not heard; returns how many.

        Nothing happens where another worker holds the sampler lease: that one does it.
        """
        told = 0

        def settle() -> Refill:
            nonlocal told
            told = self._settle()
            return Refill()

        self._leased(settle)
        return told

    def refill(self, count: int) -> Refill:
        """Settles, then adds up to `count` suggestions to the queue.

        The study never gets more trials than it wants; a suggestion that was made before is asked
        for again, and in a space with only so many points replaced by one that is left. Workers
        see each trial as soon as it is suggested, before the batch is whole.
        """
        return self._leased(lambda: self._refill(count))

    def leave(self) -> None:
        """Gives the lease back, if this desk holds it."""
        release_sampler(self._db, self._name, self._worker_id)

    def close(self) -> None:
        """Closes Optuna's connections; a process that ends does so by itself."""
        self._storage.close()

    def _leased(self, work: Callable[[], Refill]) -> Refill:
        take = extend_sampler if self._standing else acquire_sampler
        since = time.monotonic()
        if not take(self._db, self._name, self._worker_id, self._lease_seconds):
            return Refill(held_elsewhere=True)
        self._extend_after = since + self._lease_seconds / 4
        try:
            with quiet_optuna(), clear_optuna_faults(self._db):
                return work()
        except (SamplerLeaseLost, UpdateFinishedTrialError):  # the next desk ended our trial
            return Refill(held_elsewhere=True)
        finally:
            if not self._standing:
                self.leave()

    def _refill(self, count: int) -> Refill:
        self._settle()
        self._read_known()
        wanted = get_study(self._db, self._name).trials_wanted
        room = wanted - len(self._numbers)
        history = self._storage.refresh(self._study_id)
        self._asked = len(history)
        if max(self._numbers, default=-1) >= self._asked:
            raise self._forgotten(max(self._numbers))
        queued = self._recover(history, room)
        queued += self._queue_waiting(history, wanted, room - queued)
        sampler = choose_sampler(self._spec.study.sampler, self._space, wanted).name
        while queued < min(count, room):
            if not self._queue_next(sampler, wanted):
                return Refill(queued=queued, exhausted=True)
            queued += 1
        return Refill(queued=queued)

    def _settle(self) -> int:
        records = untold_trials(self._db, self._name)
        for record in records:
            self._hold()
            self._tell(record)
        mark_told(self._db, self._name, [record.number for record in records])
        return len(records)

    def _tell(self, record: TrialRecord) -> None:
        """Tells Optuna one outcome; once more does no harm.

        A diverged trial is told as complete, infinitely bad and infeasible, not as FAIL or
        PRUNED: FAIL leaves no trace in any sampler, and NSGA-II and the GP look at complete
        trials only. The GP wants the constraint on every trial (tests/sweeps/
        test_divergence.py compares the samplers).
        """
        trial_id = self._trial_id(record.number)
        if record.state == "failed":
            self._finish(record.number, None)
            return
        values = self._outcome(record)
        diverged = record.state == "diverged" or not all(map(math.isfinite, values))
        self._constrain(trial_id, 1.0 if diverged else 0.0)
        self._finish(record.number, [math.inf, math.inf] if diverged else values)

    def _outcome(self, record: TrialRecord) -> list[float]:
        distortions = {"se": record.distortion_se, "nll": record.distortion_nll_nats}
        values = (record.rate_nats, distortions[self._spec.study.distortion])
        return [math.inf if value is None else value for value in values]

    def _constrain(self, trial_id: int, value: float) -> None:
        constrained = create_trial(state=TrialState.RUNNING)
        constrained.set_constraint(DIVERGED, value)
        with suppress(UpdateFinishedTrialError):  # told before a crash, with its constraint
            for key, constraint in constrained.system_attrs.items():
                self._storage.set_trial_system_attr(trial_id, key, constraint)

    def _finish(self, number: int, values: list[float] | None) -> None:
        """Ends Optuna's trial; without values as failed. Once more does no harm."""
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        with suppress(UpdateFinishedTrialError):
            self._storage.set_trial_state_values(self._trial_id(number), state, values)

    @property
    def _study_id(self) -> int:
        return self._optuna._study_id  # noqa: SLF001

    def _trial_id(self, number: int) -> int:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        except KeyError as error:
            raise self._forgotten(number) from error

    def _forgotten(self, number: int) -> SuggestionError:
        return SuggestionError(
            f"Optuna must know every trial of study {self._name!r}, but it lacks trial {number}; "
            "its study was deleted or changed with other tools. Go on under a new name: "
            "--set study.name=…"
        )

    def _read_known(self) -> None:
        """Learns which trials were added since this desk last looked."""
        last = max(self._numbers, default=-1)
        for record in query_trials(self._db, self._name, where=f"number > {last}"):
            self._remember(record.number, record.parameters)

    def _remember(self, number: int, parameters: Parameters) -> None:
        self._numbers.add(number)
        self._known.setdefault(fingerprint(parameters), number)

    def _recover(self, history: Iterable[FrozenTrial], room: int) -> int:
        """Queues what was suggested but never stored, and ends what was not even suggested."""
        recovered = 0
        for trial in history:
            if trial.state is not TrialState.RUNNING or trial.number in self._numbers:
                continue
            suggestion = self._whole_suggestion(trial)
            if suggestion is None or recovered >= room or self._is_known(suggestion):
                self._finish(trial.number, None)
                continue
            self._store(trial.number, suggestion)
            recovered += 1
        return recovered

    def _queue_waiting(self, history: Iterable[FrozenTrial], wanted: int, room: int) -> int:
        """Queues the points that somebody put before Optuna's next trials."""
        waiting = [trial for trial in history if trial.state is TrialState.WAITING]
        queued = 0
        for trial in waiting[:room]:
            point = trial.system_attrs.get("fixed_params", {})
            queued += self._queue_new(self._ask("random", wanted, point))
            self._finish(trial.number, None)
        return queued

    def _whole_suggestion(self, trial: FrozenTrial) -> Suggestion | None:
        return self._space.suggest(trial) if _SUGGESTED in trial.user_attrs else None

    def _queue_next(self, sampler: str, wanted: int) -> bool:
        """Queues one trial that is new; False if the space has none left."""
        if self._is_exhausted(sampler):
            return False
        if sampler != "grid" and self._queue_suggested(sampler, wanted, _TRIES):
            return True
        if self._is_finite(sampler):
            return self._queue_untried(sampler, wanted)
        return self._queue_suggested("random", wanted, _RANDOM_TRIES)

    def _queue_suggested(self, sampler: str, wanted: int, tries: int) -> bool:
        """Queues the first new one of a sampler's next suggestions; False if none of them is."""
        return any(self._queue_new(self._ask(sampler, wanted)) for _ in range(tries))

    def _queue_untried(self, sampler: str, wanted: int) -> bool:
        """Queues a point of a discrete space that is left; False if none is."""
        while (point := self._points(sampler).next_untried(self._known)) is not None:
            if self._queue_new(self._ask("random", wanted, self._space.encode(point))):
                return True
        return False

    def _ask(
        self, sampler: str, wanted: int, point: Mapping[str, str | int | float] | None = None
    ) -> Suggestion:
        """Asks for a trial, which stays in memory; some of its parameters may be given."""
        self._hold()
        self._optuna.sampler = build_sampler(
            sampler,
            self._space,
            seed=self._spec.study.seed,
            number=self._asked,
            trials=wanted,
        )
        self._storage.fix(point or {})
        try:
            trial = self._optuna.ask()
            suggestion = self._space.suggest(trial)
        finally:
            self._optuna.sampler = RandomSampler()
        trial.set_user_attr(_SUGGESTED, True)
        return suggestion

    def _queue_new(self, suggestion: Suggestion) -> bool:
        """Queues what was asked for; False if it was suggested before: Optuna's trial fails."""
        twin = self._known.get(fingerprint(suggestion.parameters))
        number = self._commit(twin)
        if twin is None:
            self._store(number, suggestion)
        return twin is None

    def _commit(self, twin: int | None = None) -> int:
        """Writes the trial that was asked for to Optuna; returns its number."""
        self._hold()
        if twin is None:
            number = self._storage.commit(self._study_id)
        else:
            attributes = {_DUPLICATE_OF: twin}
            number = self._storage.commit(self._study_id, TrialState.FAIL, attributes)
        self._asked = number + 1
        return number

    def _store(self, number: int, suggestion: Suggestion) -> None:
        trial = self._space.new_trial(number, suggestion)
        add_trials(self._db, self._name, [trial], holder=self._worker_id)
        self._remember(number, suggestion.parameters)

    def _is_known(self, suggestion: Suggestion) -> bool:
        return fingerprint(suggestion.parameters) in self._known

    def _hold(self) -> None:
        """Extends the lease when a quarter of it is over; `add_trials` looks at it each time.

        Raises:
            SamplerLeaseLost: Another desk took over in the middle of the work; it finishes it.
        """
        since = time.monotonic()
        if since < self._extend_after:
            return
        if not extend_sampler(self._db, self._name, self._worker_id, self._lease_seconds):
            raise SamplerLeaseLost(self._name, self._worker_id)
        self._extend_after = since + self._lease_seconds / 4

    def _is_finite(self, sampler: str) -> bool:
        size = self._space.grid_size if sampler == "grid" else self._space.size
        return sampler == "grid" or (size is not None and size <= LARGEST_GRID)

    def _is_exhausted(self, sampler: str) -> bool:
        if not self._is_finite(sampler):
            return False
        size = self._space.grid_size if sampler == "grid" else self._space.size
        if size is not None and len(self._known) < size:
            return False
        return self._points(sampler).next_untried(self._known) is None

    def _points(self, sampler: str) -> "_UntriedPoints":
        is_grid = sampler == "grid"
        if is_grid not in self._untried:
            points = self._space.grid() if is_grid else self._space.points()
            self._untried[is_grid] = _UntriedPoints(points, self._spec.study.seed)
        return self._untried[is_grid]


@final
class _UntriedPoints:
    """The points of a discrete space in an order that is shuffled by the seed."""

    def __init__(self, points: list[Parameters], seed: int) -> None:
        random.Random(seed).shuffle(points)
        self._points = points
        self._position = 0

    def next_untried(self, known: dict[str, int]) -> Parameters | None:
        """The first point that is not known; None if all are."""
        while self._position < len(self._points):
            point = self._points[self._position]
            if fingerprint(point) not in known:
                return point
            self._position += 1
        return None
