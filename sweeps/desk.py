"""The process that makes the suggestions of a study: it alone loads Optuna, and holds the lease.

A worker that finds the queue empty and the sampler lease free starts it (`sweeps.desk_process`).
It leaves when the study is over, when its worker has gone, or when it has lost the lease.
"""

import logging
import math
import threading
import time
from typing import Self, final

from studies.database import Database
from studies.errors import StudiesError
from studies.queue import mark_exhausted, outlook
from studies.records import StudyRecord
from studies.retries import retried
from studies.sampler_lease import extend_sampler
from studies.study_records import get_study
from studies.workers import count_living, count_slots
from sweeps.optuna_store import clear_optuna_faults
from sweeps.spec import Spec
from sweeps.stopping import StopRequest
from sweeps.suggestions import Refill, SuggestionDesk

__all__ = ["run_desk"]

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


def run_desk(study: str, db: Database, holder: str, parent_pid: int | None = None) -> None:
    """Keeps the queue of a study filled for the workers that wait, and tells the sampler outcomes.

    Args:
        study: Its name.
        db: The database.
        holder: Under which the sampler lease is held; it has been acquired already.
        parent_pid: Leave when this process is gone.

    Raises:
        SuggestionError: Optuna's study is gone, or is not ours.
        StudiesError: The database cannot be reached.
    """
    stop = StopRequest(parent_pid)
    stop.install()
    record = get_study(db, study)
    spec = Spec.from_dict(record.spec)
    with _LeaseKeeper(db, study, holder, spec.run.lease_seconds) as keeper:
        desk = _open_desk(db, record, spec, holder)
        try:
            _serve(desk, db, record.name, spec.run.lease_seconds, stop, keeper)
        finally:
            desk.leave()


@retried
def _open_desk(db: Database, record: StudyRecord, spec: Spec, holder: str) -> SuggestionDesk:
    with clear_optuna_faults(db):
        return SuggestionDesk(
            db,
            db.url,
            study=record.name,
            spec=spec,
            pixels=math.prod(record.data["image_shape"]),
            worker_id=holder,
            examples=record.data["train_size"],
            lease_seconds=spec.run.lease_seconds,
            standing=True,
        )


def _serve(
    desk: SuggestionDesk,
    db: Database,
    study: str,
    lease_seconds: float,
    stop: StopRequest,
    keeper: "_LeaseKeeper",
) -> None:
    pause = _SHORTEST_PAUSE
    while not (stop.requested or keeper.lost):
        look = outlook(db, study)
        if look.over:
            return
        idle = _depth(db, study, lease_seconds) - look.running - look.queued
        room = look.wanted - look.finished - look.running - look.queued
        if look.untold or (idle > 0 and room > 0 and not look.exhausted):
            refill = _refill(db, desk, max(0, idle))
            if refill.held_elsewhere:
                return
            if refill.exhausted:
                mark_exhausted(db, study, exhausted=True)
            pause = _SHORTEST_PAUSE
        else:
            pause = min(1.5 * pause, _LONGEST_PAUSE)
        time.sleep(pause)


def _depth(db: Database, study: str, lease_seconds: float) -> int:
    """How many trials shall be running or wait in the queue.

    As many as there are slots; and where workers train packs, a quarter of a pack more, so that
    a slot that becomes free finds one waiting.
    """
    slots = count_slots(db, study, lease_seconds)
    return slots + (slots - count_living(db, study, lease_seconds)) // 4


@retried
def _refill(_db: Database, desk: SuggestionDesk, count: int) -> Refill:
    """Once more after a fault that passed: the desk finishes what was left half done."""
    return desk.refill(count)


@final
class _LeaseKeeper:
    """Extends the sampler lease from a thread, so that a slow sampler never loses it."""

    def __init__(self, db: Database, study: str, holder: str, seconds: float) -> None:
        self._db, self._study, self._holder, self._seconds = db, study, holder, seconds
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5)

    @property
    def lost(self) -> bool:
        """Whether another has the lease now, or has had it."""
        return self._lost

    def _run(self) -> None:
        while not self._lost and not self._ended.wait(self._seconds / 4):
            try:
                self._lost = not extend_sampler(self._db, self._study, self._holder, self._seconds)
            except StudiesError as error:
                _log.warning("sampler lease: %s", error)
