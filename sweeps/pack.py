"""The trials that one worker trains together: each in a slot of one trainer, each ends by itself."""

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import final

import torch

from studies.errors import LeaseLost, RecordError, StudiesError
from sweeps.artifact_store import StoreError
from sweeps.attempt import Attempt
from sweeps.errors import SweepError
from sweeps.heartbeat import Heartbeat
from sweeps.stopping import StopRequest
from sweeps.wording import counted
from vae_models.example_terms import ExampleTerms
from vae_models.results import Diverged, EpochResult
from vae_models.trainer import Trainer

__all__ = ["Pack"]

_log = logging.getLogger(__name__)


@final
class Pack:
    """Attempts that train side by side; a lone one is a pack of one.

    What goes wrong in the steps of one attempt ends that one. What goes wrong in the training itself
    may be the fault of any: all are released, and the pack gets smaller, down to one trial at a
    time, which then is the one to blame.

    Args:
        size: How many trials it takes at first.
        make_trainer: Makes a trainer with so many slots.
        heartbeat: Keeps the leases of those in hand.
        stop: When to leave at the end of an epoch.
        device: Where the trainer trains.
        on_smaller: Hears the new size when the pack gets smaller.
    """

    def __init__(
        self,
        size: int,
        make_trainer: Callable[[int], Trainer],
        heartbeat: Heartbeat,
        stop: StopRequest,
        device: str,
        on_smaller: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.size = size
        self._make_trainer = make_trainer
        self._heartbeat = heartbeat
        self._stop = stop
        self._device = device
        self._on_smaller = on_smaller
        self._trainer: Trainer | None = None
        self._attempts: dict[int, Attempt] = {}

    def __len__(self) -> int:
        """How many trials are in hand."""
        return len(self._attempts)

    @property
    def room(self) -> int:
        """How many more it takes."""
        return self.size - len(self)

    def begin(self, attempt: Attempt) -> None:
        """Takes a trial in hand, to train from the next epoch on.

        Raises:
            StoreError: The store could not be read for too long.
            StudiesError: The database cannot be reached.
            SweepError: The device is broken.
        """
        if self._trainer is None:
            self._trainer = self._make_trainer(self.size)
        trainer = self._trainer
        try:
            with self.alone(attempt):
                attempt.begin(trainer)
                if not attempt.ended:
                    self._attempts[attempt.slot] = attempt
        except torch.OutOfMemoryError as error:
            with self.alone(attempt):
                attempt.release(self._why_released(error))
            self._shrink(self.size // 2, error)

    def train_epoch(self) -> None:
        """One epoch of every trial in hand, then the ends of those whose last one it was.

        Raises:
            StoreError: The store took no file for too long.
            StudiesError: The database cannot be reached.
            SweepError: The device is broken.
        """
        try:
            for result in self._results():
                attempt = self._attempts.get(result.slot)
                if attempt is not None:
                    with self.alone(attempt):
                        attempt.hear(result)
            self._end_epoch()
        except torch.OutOfMemoryError as error:  # of a measurement
            self._shrink(self.size // 2, error)
        except _TrainingError as failed:
            self._blame(failed.error)

    def leave(self, reason: str | None = None) -> None:
        """Lets all trials go between two epochs, each with a checkpoint."""
        for attempt in self._in_hand:
            with self.alone(attempt):
                attempt.leave(reason)

    def release(self, reason: str) -> None:
        """Lets all trials go at once, to be continued from their last checkpoints."""
        for attempt in self._in_hand:
            with self.alone(attempt):
                attempt.release(reason)

    @contextmanager
    def alone(self, attempt: Attempt) -> Iterator[None]:
        """What goes wrong in here ends this attempt and no other; what has ended gives its slot back."""
        try:
            yield
        except KeyboardInterrupt:
            with suppress(LeaseLost):
                attempt.release("stopped at once")
            raise
        except LeaseLost as error:
            attempt.ended = True
            _log.warning("trial %d: %s", attempt.lease.number, error)
        except RecordError:
            self._fail(attempt)
        except (StudiesError, StoreError):
            raise  # what stores the trial is gone, the trial is not: another goes on with it
        except Exception as error:
            if self.size > 1 and isinstance(error, torch.OutOfMemoryError):
                raise
            self._fail(attempt)
            self._check_device_lives(f"trial {attempt.lease.number}", error)
        finally:
            if attempt.ended:
                self._drop(attempt)

    @property
    def _in_hand(self) -> list[Attempt]:
        return list(self._attempts.values())

    def _results(self) -> Iterator[EpochResult | Diverged]:
        """One epoch's results; an error in here is one of the training, whose fault ever it is."""
        if self._trainer is None:
            return
        try:
            yield from self._trainer.train_epoch()
        except Exception as error:
            raise _TrainingError(error) from error

    def _end_epoch(self) -> None:
        """Measures what is trained to its end; with a stop asked for, lets the rest go.

        Then only one of many is measured: the others, saved, do not keep the worker from leaving.
        """
        if self._stop.requested:
            for attempt in self._in_hand:
                if not attempt.trained:
                    with self.alone(attempt):
                        attempt.leave()
        trained = [attempt for attempt in self._in_hand if attempt.trained]
        terms = self._heldout_terms(trained)
        for place, attempt in enumerate(trained):
            with self.alone(attempt):
                if place > 0 and self._stop.requested:
                    attempt.leave()
                else:
                    attempt.finish(terms.get(attempt.slot))

    def _heldout_terms(self, trained: Sequence[Attempt]) -> Mapping[int, ExampleTerms]:
        """Of models that end together on a GPU, measured as one; else nothing.

        On a CPU that gains no time, and a trial's metrics would hang on who ends with it, in the
        last bit.
        """
        if self._trainer is None or len(trained) < 2 or not self._device.startswith("cuda"):
            return {}
        samples = trained[0].evaluation.samples
        return self._trainer.heldout_terms([attempt.slot for attempt in trained], samples=samples)

    def _blame(self, error: Exception) -> None:
        """Fails the only trial in hand; of several, lets all go, to be tried again one by one."""
        if self.size > 1 and isinstance(error, torch.OutOfMemoryError):
            self._shrink(self.size // 2, error)
        elif len(self) > 1:
            self._shrink(1, error)
        self._trainer = None
        for attempt in self._in_hand:
            with self.alone(attempt):
                raise error

    def _shrink(self, size: int, error: Exception) -> None:
        """Lets all trials go, and takes no more than so many at a time from now on.

        A broken device is left with the leases in hand: it may have been any of these trials, and
        each loses one of its attempts, or they would break one device after the other.
        """
        self._check_device_lives(f"a pack of {counted(len(self), 'trial')}", error)
        _log.warning("a pack of %d failed, going on with %d: %s", self.size, size, _why(error))
        self._trainer = None  # whatever state it is in
        self.release(self._why_released(error))
        self.size = size
        self._on_smaller(size)

    def _why_released(self, error: Exception) -> str:
        return f"its pack of {self.size} failed: {_why(error)}"

    def _fail(self, attempt: Attempt) -> None:
        """Records the error that is being handled."""
        try:
            attempt.fail(traceback.format_exc())
        except LeaseLost as error:
            _log.warning("trial %d: %s", attempt.lease.number, error)

    def _drop(self, attempt: Attempt) -> None:
        self._heartbeat.drop(attempt.lease)
        if self._attempts.get(attempt.slot) is attempt:
            del self._attempts[attempt.slot]
            if self._trainer is not None:
                self._trainer.release(attempt.slot)

    def _check_device_lives(self, what: str, error: Exception) -> None:
        """Leaves the process if the error broke the device for good (a CUDA assert does)."""
        try:
            torch.zeros(1, device=self._device).item()
        except RuntimeError:
            message = f"The device must answer after {what}, but it does not: {error}"
            raise SweepError(message) from error


@final
class _TrainingError(Exception):
    """Something went wrong while all trials in hand trained.

    Attributes:
        error: What.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _why(error: Exception) -> str:
    """An error in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
