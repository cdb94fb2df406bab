"""One attempt at a trial: from its last checkpoint through its epochs to its held-out metrics."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from vae_models.checkpoints import Checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import CheckpointError, NonFiniteError
from vae_models.evaluation_config import EvaluationConfig
from vae_models.trainer import Diverged, Trainer

_log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 10.0

_LONGEST_INTERVAL = 80.0  # between two tries of a checkpoint that cannot be written
_LONGEST_PAUSE = 30.0
_GLANCE_SECONDS = 0.25  # between two looks at the stop request

_Result = TypeVar("_Result")


@final
@dataclass(kw_only=True)
class Attempt:
    """One worker's try at a trial.

    Attributes:
        db: where the trial is recorded.
        lease: the right to write to it.
        store: where its files go.
        data: the data set, on any device.
        device: where to train.
        stop: when to leave at the end of an epoch.
        lease_seconds: how long the lease lasts from each sign of life.
        evaluation: what to measure of the trained model.
        checkpoint_seconds: the least time between two checkpoints.
        patience_seconds: how long to wait for a store that does not take the trained model.
        note: what hinders the attempt at the moment, in one line; None if nothing does.
    """

    db: Database
    lease: Lease
    store: ArtifactStore
    data: DataSet
    device: str
    stop: StopRequest
    lease_seconds: float
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
    note: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._files = TrialFiles(self.store, self.lease, self._extend)

    def run(self) -> None:
        """Trains the trial to its end, to its divergence, or until a stop is asked for.

        A checkpoint that cannot be written stops nothing; for the trained model it waits.

        Raises:
            LeaseLost: another worker has the trial now; nothing was written after that.
            StoreError: the store took no file for too long; the trial was released.
            StudiesError: the database cannot be reached.
        """
        try:
            self._train(self._patiently(self._trainer))
        except StoreError as error:
            with suppress(LeaseLost):
                release_trial(self.db, self.lease, self._why_released(error))
            if self.stop.requested:
                return
            message = f"{error} Trial {self.lease.number} can be continued once that is mended."
            raise StoreError(message) from error

    def fail(self, error: str) -> None:
        """Ends the trial as failed, with the traceback of our own code.

        Raises:
            LeaseLost: another worker has the trial now.
        """
        fail_trial(self.db, self.lease, error)
        self.tidy()

    def tidy(self) -> None:
        """Deletes the files of a trial that has ended without a model of its own."""
        self._files.tidy()

    def _trainer(self) -> Trainer:
        """The trainer at the newest good checkpoint, or at the start if there is none."""
        config = TrialConfig.from_dict(self.lease.config)
        self._files.clear_leftovers()
        for key, checkpoint in self._files.checkpoints(self._epochs_stored()):
            try:
                found = Trainer([config], self.data, device=self.device, checkpoints=[checkpoint])
            except CheckpointError as error:
                self._files.pass_over(error)
            else:
                self._files.keep(key)
                return found
        return Trainer([config], self.data, device=self.device)

    def _epochs_stored(self) -> int:
        number = self.lease.number
        last = last_epochs_of(self.db, self.lease.study, [number]).get(number)
        return 0 if last is None else last.epoch

    def _train(self, trainer: Trainer) -> None:
        """Goes through the epochs that are left, and then to the end of the trial."""
        epochs = TrialConfig.from_dict(self.lease.config).train.epochs
        saved, pause = time.monotonic(), self.checkpoint_seconds
        for result in trainer:
            if isinstance(result, Diverged):
                self._diverge(result.message)
                return
            store_epoch(self.db, self.lease, epoch_record(result), self.lease_seconds)
            leaving = self.stop.requested and result.epoch < epochs
            if leaving or time.monotonic() - saved > pause:
                written = self._save(trainer.checkpoint(0))
                pause = self.checkpoint_seconds if written else min(2 * pause, _LONGEST_INTERVAL)
                saved = time.monotonic()
            if leaving:
                release_trial(self.db, self.lease, self._why_released(self.note))
                return
        self._finish(trainer)

    def _save(self, checkpoint: Checkpoint) -> bool:
        """Writes a checkpoint if the store lets it; whether it did."""
        try:
            self._files.save_checkpoint(checkpoint)
        except StoreError as error:
            self._hindered_by(error)
            return False
        self.note = None
        return True

    def _finish(self, trainer: Trainer) -> None:
        """Measures the trained model, keeps it (without the optimiser's state), stores both."""
        model, trained = trainer.model(0), trainer.checkpoint(0)
        config = TrialConfig.from_dict(self.lease.config)
        try:
            measured = measure(model, trained, self.data, config, self.evaluation)
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
        self._files.tidy(keep=[kept.path])

    def _diverge(self, message: str) -> None:
        diverge_trial(self.db, self.lease, message)
        self.tidy()

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
