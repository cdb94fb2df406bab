"""The loop of a worker: trials are taken while there is room, and train epoch by epoch."""

import random
import time
from dataclasses import dataclass, field
from typing import final

from studies.attempt_lengths import longest_attempt_seconds
from studies.database import Database
from studies.leases import take_trial
from studies.queue import outlook
from studies.records import Lease, StudyRecord
from sweeps.artifact_store import ArtifactStore, StoreError
from sweeps.attempt import Attempt
from sweeps.desk_process import DeskProcess
from sweeps.errors import SweepError
from sweeps.fair_share import fair_share
from sweeps.heartbeat import Heartbeat
from sweeps.pack import Pack
from sweeps.reused_results import reuse_results
from sweeps.spec import Spec
from sweeps.stopping import StopRequest
from vae_models.data import DataSet

__all__ = ["TrialLoop"]

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_TOO_LATE = "its time limit is too near for another trial"
_SAFETY = 1.5  # a trial may take so many times the longest so far


@final
class _Lookout:
    """When to look for trials: at once after there was one, ever less often while there is none."""

    def __init__(self) -> None:
        self._pause, self._next = _SHORTEST_PAUSE, 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() >= self._next

    def hurry(self) -> None:
        """There was a trial, or there is room for one."""
        self._pause, self._next = _SHORTEST_PAUSE, 0.0

    def hesitate(self) -> None:
        """There was none."""
        self._next = time.monotonic() + self._pause * random.uniform(0.7, 1.3)
        self._pause = min(1.5 * self._pause, _LONGEST_PAUSE)

    def wait(self) -> None:
        """Sleeps until it is time to look."""
        time.sleep(max(0.0, self._next - time.monotonic()))


@final
@dataclass(frozen=True, kw_only=True)
class TrialLoop:
    """The loop of one worker over one study.

    Attributes:
        db: where the study is.
        study: it.
        spec: what it was made from.
        data: what its trials train on.
        store: where their files go.
        worker_id: under which it holds leases.
        desk: makes suggestions where nobody does.
        heartbeat: keeps the leases of the trials in hand.
        stop: when to leave.
        pack: the trials in hand.
        lookout: when to look for more.
    """

    db: Database
    study: StudyRecord
    spec: Spec
    data: DataSet
    store: ArtifactStore
    worker_id: str
    desk: DeskProcess
    heartbeat: Heartbeat
    stop: StopRequest
    pack: Pack
    lookout: _Lookout = field(default_factory=_Lookout)

    def work(self) -> str | None:
        """Takes and trains trials; returns why it left, None if nothing was left to do."""
        self.heartbeat.beat()  # an order may stand already
        try:
            return self._work()
        except KeyboardInterrupt:
            self.pack.release("stopped at once")
            raise
        except StoreError as error:
            self.pack.release(str(error))
            raise

    def _work(self) -> str | None:
        while True:
            why: str | None = None
            if self.pack.room and self.lookout.is_due:
                why = self._why_no_more()
                if why is None:
                    self._look()
            if len(self.pack):
                self._train_epoch()
            elif why is not None:
                return why
            elif not self.lookout.is_due:
                if outlook(self.db, self.study.name).over:
                    return None
                self.desk.ensure()
                self.lookout.wait()

    def _why_no_more(self) -> str | None:
        """Why it takes no further trial; None if it may."""
        if self.stop.draining:
            return self.stop.reason
        return _TOO_LATE if self._too_late() else None

    def _too_late(self) -> bool:
        """Whether a trial that takes as long as the longest so far would not be finished.

        One that would not be finished within any worker's whole time is begun all the same: the
        next worker goes on with it.
        """
        left, in_all = self.stop.seconds_left, self.stop.seconds_in_all
        if left is None or in_all is None:
            return False
        longest = longest_attempt_seconds(self.db, self.study.name)
        return longest is not None and left < _SAFETY * longest <= in_all

    def _look(self) -> None:
        """Takes as many trials as there are, as there is room for, and as it is to leave others."""
        found, share = 0, self._share()
        while found < share and (lease := self._take()) is not None:
            found += 1
            self._begin(lease)
            if not self.pack.room or self.stop.draining:
                break
        if found:
            self.lookout.hurry()
            return
        self.lookout.hesitate()
        if len(self.pack):
            self._ensure_desk()

    def _share(self) -> int:
        if self.pack.size == 1:
            return 1
        share = fair_share(self.db, self.study.name, self.spec.run.lease_seconds)
        return share - len(self.pack)

    def _take(self) -> Lease | None:
        return take_trial(
            self.db,
            self.study.name,
            self.worker_id,
            lease_seconds=self.spec.run.lease_seconds,
            max_attempts=self.spec.study.max_attempts,
            dedupe=self.spec.study.dedupe,
        )

    def _begin(self, lease: Lease) -> None:
        attempt = Attempt(
            db=self.db,
            lease=lease,
            store=self.store,
            data=self.data,
            stop=self.stop,
            lease_seconds=self.spec.run.lease_seconds,
            evaluation=self.spec.evaluation,
            checkpoint_seconds=self.spec.run.checkpoint_seconds,
        )
        self.heartbeat.hold(lease, lambda: attempt.note)
        with self.pack.alone(attempt):
            self._reuse(attempt)
        if not attempt.ended:
            self.pack.begin(attempt)

    def _reuse(self, attempt: Attempt) -> None:
        """Ends a trial whose training has been done, with its results."""
        pixels, examples = self.data.pixels, len(self.data.train)
        if not self.spec.study.dedupe:
            return
        if reuse_results(self.db, attempt.lease, pixels, examples):
            attempt.ended = True
            attempt.tidy()

    def _train_epoch(self) -> None:
        in_hand = len(self.pack)
        self.pack.train_epoch()
        if len(self.pack) < in_hand:
            self.lookout.hurry()

    def _ensure_desk(self) -> None:
        """Sees to it that somebody suggests trials for the slots that are free."""
        try:
            self.desk.ensure()
        except SweepError as error:
            self.pack.leave(str(error))
            raise
