"""The files of one trial: its last two checkpoints while it trains, its model when it has ended.

Below the study's name lies a folder for each trial, which only the holder of the trial's lease
writes to. The names carry the attempt, so whoever lost the lease unnoticed can write over nothing
of its successor. An epoch is in the database before a checkpoint of it is written.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Self, final

from studies.errors import LeaseLost
from studies.records import ArtifactRecord, Lease
from sweeps.artifact_store import ArtifactStore, KeyMissing, StoreError, StoreFull
from sweeps.artifacts import stored_artifact
from vae_models.checkpoints import Checkpoint, checkpoint_bytes, read_checkpoint
from vae_models.errors import CheckpointError

__all__ = ["TrialFile", "TrialFiles", "trial_folder"]

_log = logging.getLogger(__name__)

_KEPT = 2
_NAME = re.compile(r"(?:checkpoint-(?P<epoch>\d{6,})|model)-(?P<attempt>\d{3,})\.safetensors")
_FIRST_RELEASE = "checkpoint.safetensors"
"""Both a checkpoint and, in the end, the model, as rdsweep 0.1.0 called them."""


def trial_folder(study: str, number: int, uuid: str) -> str:
    """The folder of a trial's files, as the beginning of their keys.

    It carries the trial's UUID, since a study's name and numbers can come again.
    """
    return f"{study}/{number:05d}-{uuid[:8]}"


@final
@dataclass(frozen=True, kw_only=True, order=True)
class TrialFile:
    """What the name of a trial's file says; the newest training is the largest.

    Attributes:
        trained: Whether it is the trained model, after the last epoch.
        epoch: The checkpoint's epoch; 0 of a model, and where the name does not tell.
        attempt: The attempt that wrote it; 0 where the name does not tell.
    """

    trained: bool = False
    epoch: int = 0
    attempt: int = 0

    @classmethod
    def of(cls, key: str) -> Self | None:
        """The file under a key; None if it is none of a training."""
        name = key.rpartition("/")[2]
        if name == _FIRST_RELEASE:
            return cls()
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        epoch, attempt = found["epoch"], int(found["attempt"])
        return cls(trained=epoch is None, epoch=int(epoch or 0), attempt=attempt)

    @property
    def name(self) -> str:
        """The last part of its key."""
        kind = "model" if self.trained else f"checkpoint-{self.epoch:06d}"
        return f"{kind}-{self.attempt:03d}.safetensors"


@final
class TrialFiles:
    """Reads and writes the files of the trial in hand.

    Args:
        store: Where they are.
        lease: The attempt that they are written by.
        fence: Passes if the attempt still holds its trial, and raises `LeaseLost` if not.
    """

    def __init__(self, store: ArtifactStore, lease: Lease, fence: Callable[[], None]) -> None:
        self._store = store
        self._lease = lease
        self._fence = fence
        self._folder = trial_folder(lease.study, lease.number, lease.uuid)
        self._kept: list[str] = []

    def checkpoints(self, epochs: int) -> Iterator[tuple[str, Checkpoint]]:
        """The whole checkpoints under their keys, newest first; what is torn is passed over.

        Args:
            epochs: How many epochs of the trial are in the database: a later checkpoint is one
                that an attempt left behind after it lost the trial.

        Raises:
            StoreError: The store cannot be read.
        """
        for key in self._trainings():
            try:
                checkpoint = read_checkpoint(self._store.get(key), key)
            except (KeyMissing, CheckpointError) as error:
                self.pass_over(error)
                continue
            if checkpoint.epoch > epochs:
                must = f"{key} must be of an epoch that is stored"
                self.pass_over(CheckpointError(f"{must}, but {checkpoint.epoch} > {epochs}."))
                continue
            yield key, checkpoint

    def pass_over(self, error: Exception) -> None:
        """Says in the log why a checkpoint is not used."""
        number = self._lease.number
        _log.warning("trial %d goes on from an earlier checkpoint, if any: %s", number, error)

    def keep(self, key: str) -> None:
        """Counts the checkpoint that the training goes on from among the last two."""
        self._kept = [key]

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, and deletes those before the last two.

        Raises:
            StoreError: It cannot be written; those before are as they were.
            LeaseLost: Another worker has the trial; nothing is left of it.
        """
        key = self._key(TrialFile(epoch=checkpoint.epoch, attempt=self._lease.attempt))
        self._put(key, checkpoint_bytes(checkpoint))
        self._kept = [*self._kept, key][-_KEPT:]
        self._delete_all_but(self._kept)

    def save_model(self, trained: Checkpoint) -> ArtifactRecord:
        """Writes the trained model, without the optimiser's state, and returns its record.

        Raises:
            StoreError: It cannot be written.
            LeaseLost: Another worker has the trial; nothing is left of it.
        """
        key = self._key(TrialFile(trained=True, attempt=self._lease.attempt))
        content = checkpoint_bytes(replace(trained, optimiser={}))
        self._put(key, content)
        return stored_artifact("checkpoint", key, content)

    def clear_leftovers(self) -> None:
        """Removes what the attempt before, if it was killed, left half-written.

        Raises:
            StoreError: The store cannot be written.
            LeaseLost: Another worker has the trial.
        """
        self._fence()
        self._store.clear_leftovers(self._folder)

    def discard(self, key: str | None) -> None:
        """Deletes a file of this attempt's own; a store that does not let it is only logged."""
        if key is not None:
            self._delete([key])

    def tidy(self, keep: Collection[str | None] = ()) -> None:
        """Deletes all files of a trial that has ended but these; only logs what stays.

        For after its record is written: nobody goes on with the trial then.
        """
        try:
            self._store.clear_leftovers(self._folder)
            unneeded = [file.key for file in self._store.keys(self._folder)]
        except StoreError as error:
            _log.warning("files of trial %d stay: %s", self._lease.number, error)
            return
        self._delete([key for key in unneeded if key not in keep])

    def _key(self, file: TrialFile) -> str:
        return f"{self._folder}/{file.name}"

    def _trainings(self) -> list[str]:
        """The keys of checkpoints and models, newest first."""
        keys = [file.key for file in self._store.keys(self._folder)]
        found = [(file, key) for key in keys if (file := TrialFile.of(key)) is not None]
        return [key for _, key in sorted(found, reverse=True)]

    def _put(self, key: str, content: bytes) -> None:
        """Writes a file between two looks at the lease; takes it back if that was lost."""
        self._fence()
        try:
            self._store.put(key, content)
        except StoreFull:
            if not self._delete_all_but(self._kept[-1:]):  # one whole checkpoint must stay
                raise
            self._store.put(key, content)
        try:
            self._fence()
        except LeaseLost:
            self._delete([key])
            raise

    def _delete_all_but(self, kept: Collection[str]) -> bool:
        """Deletes the other files up to this attempt's, and says if there were any.

        Those of later attempts are not ours: then the trial was lost a moment ago.
        """
        try:
            keys = self._trainings()
        except StoreError as error:
            _log.warning("old checkpoints of trial %d stay: %s", self._lease.number, error)
            return False
        old = [key for key in keys if key not in kept and self._may_delete(key)]
        self._delete(old)
        return bool(old)

    def _may_delete(self, key: str) -> bool:
        file = TrialFile.of(key)
        return file is not None and file.attempt <= self._lease.attempt

    def _delete(self, keys: Collection[str]) -> None:
        for key in keys:
            try:
                self._store.delete(key)
            except StoreError as error:
                _log.warning("a file of trial %d stays: %s", self._lease.number, error)
