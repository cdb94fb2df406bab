"""One attempt at a trial: from its last checkpoint through its epochs to its held-out metrics."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar, final

from studies.database import Database
from studies.errors import LeaseLost
from studies.leases import extend_lease, release_trial
from studies.outcomes import diverge_trial, fail_trial, finish_trial, store_epoch
from studies.queries import last_epochs_of
from studies.records import Lease
from studies.retries import PATIENCE_SECONDS
from sweeps.artifact_store import ArtifactStore, StoreError
from sweeps.artifacts import picture_artifacts
from sweeps.measurement import divergence_after, measure
from sweeps.outcome_records import epoch_record
from sweeps.stopping import StopRequest
from sweeps.trial_files import TrialFiles
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import CheckpointError, NonFiniteError
from vae_models.evaluation_config import EvaluationConfig
from vae_models.example_terms import ExampleTerms
from vae_models.trainer import Diverged, EpochResult, Trainer

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 10.0

_LONGEST_INTERVAL = 80.0  # between two tries of a checkpoint that cannot be written
_LONGEST_PAUSE = 30.0
_GLANCE_SECONDS = 0.25  # between two looks at the stop request
_GOLDEN = 0.618  # multiples of it lie far apart between two whole numbers

_Result = TypeVar("_Result")


@final
@dataclass(kw_only=True)
class Attempt:
    """One worker's try at a trial, in a slot of a trainer that may train others beside it.

    It hears of what happens: `begin`, then `hear` after each epoch, and `finish` once `trained` is
    true; or `leave` between two epochs, `release` at any time. Each may find that the lease is lost.

    Attributes:
        db: where the trial is recorded.
        lease: the right to write to it.
        store: where its files go.
        data: the data set, on any device.
        stop: whether nobody shall wait any more.
        lease_seconds: how long the lease lasts from each sign of life.
        evaluation: what to measure of the trained model.
        checkpoint_seconds: the least time between two checkpoints.
        patience_seconds: how long to wait for a store that does not take the trained model.
        note: what hinders the attempt at the moment, in one line; None if nothing does.
        ended: whether the trial is no longer this attempt's.
        slot: its place in the trainer; -1 before it has begun.
    """

    db: Database
    lease: Lease
    store: ArtifactStore
    data: DataSet
    stop: StopRequest
    lease_seconds: float
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
    note: str | None = field(default=None, init=False)
    ended: bool = field(default=False, init=False)
    slot: int = field(default=-1, init=False)
    _trainer: Trainer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._files = TrialFiles(self.store, self.lease, self._extend)
        self._config = TrialConfig.from_dict(self.lease.config)
        self._epoch = 0
        self._saved, self._pause = time.monotonic(), self.checkpoint_seconds

    @property
    def trained(self) -> bool:
        """Whether its last epoch is over."""
        return self._epoch >= self._config.train.epochs

    def begin(self, trainer: Trainer) -> None:
        """Gives the trial a slot, at its newest good checkpoint, or at the start if it has none.

        Raises:
            LeaseLost: another worker has the trial now; nothing was written after that.
            StoreError: the store could not be read for too long; the trial was released.
            ConfigError: the trial does not fit the data.
            StudiesError: the database cannot be reached.
        """
        with self._released_without_store():
            self.slot = self._patiently(lambda: self._admitted(trainer))
            self._trainer = trainer
            head_start = self.slot * _GOLDEN % 1  # so that a pack does not write all at once
            self._saved = time.monotonic() - head_start * self._pause

    def hear(self, result: EpochResult | Diverged) -> None:
        """Stores what came of an epoch, and writes a checkpoint where one is due.

        A checkpoint that cannot be written stops nothing.

        Raises:
            LeaseLost: another worker has the trial now; nothing was written after that.
            StudiesError: the database cannot be reached.
        """
        if isinstance(result, Diverged):
            self._diverge(result.message)
            return
        store_epoch(self.db, self.lease, epoch_record(result), self.lease_seconds)
        self._epoch = result.epoch
        if time.monotonic() - self._saved > self._pause:
            self._save()

    def finish(self, terms: ExampleTerms | None = None) -> None:
        """Measures the trained model, keeps it (without the optimiser's state), stores both.

        It waits for a store that does not take the model.

        Args:
            terms: Of the held-out examples, where they are known already.

        Raises:
            LeaseLost: another worker has the trial now; nothing was written after that.
            StoreError: the store took no file for too long; the trial was released.
            StudiesError: the database cannot be reached.
        """
        with self._released_without_store():
            self._finish(terms)

    def leave(self, reason: str | None = None) -> None:
        """Writes a checkpoint if the store lets it, and lets the trial go to be continued.

        Args:
            reason: For the trial's history; None for that of the stop request.

        Raises:
            LeaseLost: another worker has the trial now.
        """
        self._save()
        self.release(reason or self._why_released(self.note))

    def release(self, reason: str) -> None:
        """Lets the trial go, to be continued from its last checkpoint.

        Raises:
            LeaseLost: another worker has the trial now.
        """
        self.ended = True
        release_trial(self.db, self.lease, reason)

    def fail(self, error: str) -> None:
        """Ends the trial as failed, with the traceback of our own code.

        Raises:
            LeaseLost: another worker has the trial now.
        """
        self.ended = True
        fail_trial(self.db, self.lease, error)
        self.tidy()

    def tidy(self) -> None:
        """Deletes the files of a trial that has ended without a model of its own."""
        self._files.tidy()

    def _admitted(self, trainer: Trainer) -> int:
        """The slot that the trainer gives the trial."""
        self._files.clear_leftovers()
        for key, checkpoint in self._files.checkpoints(self._epochs_stored()):
            try:
                slot = trainer.admit(self._config, checkpoint)
            except CheckpointError as error:
                self._files.pass_over(error)
            else:
                self._files.keep(key)
                self._epoch = checkpoint.epoch
                return slot
        return trainer.admit(self._config)

    def _epochs_stored(self) -> int:
        number = self.lease.number
        last = last_epochs_of(self.db, self.lease.study, [number]).get(number)
        return 0 if last is None else last.epoch

    def _save(self) -> None:
        """Writes a checkpoint if the store lets it; else the next one waits longer."""
        try:
            self._files.save_checkpoint(self._trainer.checkpoint(self.slot))
        except StoreError as error:
            self._hindered_by(error)
            self._pause = min(2 * self._pause, _LONGEST_INTERVAL)
        else:
            self.note = None
            self._pause = self.checkpoint_seconds
        self._saved = time.monotonic()

    def _finish(self, terms: ExampleTerms | None) -> None:
        model, trained = self._trainer.model(self.slot), self._trainer.checkpoint(self.slot)
        try:
            measured = measure(model, trained, self.data, self._config, self.evaluation, terms)
        except NonFiniteError as error:
            self._diverge(divergence_after(trained, error))
            return
        kept = self._patiently(lambda: self._files.save_model(trained))
        try:
            finish_trial(
                self.db,
                self.lease,
                measured.metrics,
                measured.latents,
                [kept, *picture_artifacts(model, self.data, measured.evaluation)],
            )
        except LeaseLost:
            self._files.discard(kept.path)
            raise
        self.ended = True
        self._files.tidy(keep=[kept.path])

    def _diverge(self, message: str) -> None:
        self.ended = True
        diverge_trial(self.db, self.lease, message)
        self.tidy()

    @contextmanager
    def _released_without_store(self) -> Iterator[None]:
        """Lets the trial go where the store fails, with the reason."""
        try:
            yield
        except StoreError as error:
            with suppress(LeaseLost):
                self.release(self._why_released(error))
            if self.stop.requested:
                return
            message = f"{error} Trial {self.lease.number} can be continued once that is mended."
            raise StoreError(message) from error

    def _extend(self) -> None:
        extend_lease(self.db, self.lease, self.lease_seconds)

    def _patiently(self, action: Callable[[], _Result]) -> _Result:
        """Tries until the store lets it, for as long as the patience lasts and no stop is asked for.

        Raises:
            StoreError: it did not.
        """
        end = time.monotonic() + self.patience_seconds
        for pause in _pauses():
            try:
                result = action()
            except StoreError as error:
                self._hindered_by(error)
                if self.stop.requested or time.monotonic() >= end:
                    raise
                self._wait(min(pause, end - time.monotonic()))
            else:
                break
        self.note = None
        return result

    def _wait(self, seconds: float) -> None:
        """Waits, until a stop is asked for."""
        end = time.monotonic() + seconds
        while not self.stop.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _GLANCE_SECONDS))

    def _hindered_by(self, error: StoreError) -> None:
        """Notes what is wrong for whoever looks at the worker, and logs it the first time."""
        if self.note is None:
            _log.warning("trial %d: %s", self.lease.number, error)
        self.note = f"trial {self.lease.number}: {error}"

    def _why_released(self, trouble: StoreError | str | None) -> str:
        """The reason for the trial's history."""
        why = self.stop.reason if self.stop.requested else None
        reasons = [str(reason) for reason in (why, trouble) if reason is not None]
        return "; ".join(reasons) or "asked to stop"


def _pauses() -> Iterator[float]:
    """Seconds to wait between tries: twice as long each time, up to the longest."""
    pause = 0.5
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)
