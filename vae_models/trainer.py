"""The one trainer: a pack of trials, trained together, that yields results epoch by epoch."""

from collections.abc import Iterator, Sequence
from typing import final

import torch

from vae_models.checkpoints import Checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import ConfigError
from vae_models.results import Diverged, EpochResult
from vae_models.slot import Slot
from vae_models.vae import VAE

__all__ = ["Diverged", "EpochResult", "Trainer"]


@final
class Trainer:
    """Trains trials together, in as many slots as it is given; a lone trial is a pack of one.

    Iterating trains, one epoch of every live slot in turn, and yields what came of each. A trial
    ends after its last epoch, when its loss is no longer finite, or when it is stopped; the
    others go on and their numbers do not change. A slot whose trial was released takes another
    at any epoch.

        trainer = Trainer([config], data)
        for result in trainer:
            ...

    Args:
        configs: The settings of the first trials, which take the first slots.
        data: The data that all of them train on.
        device: Where to train, such as ``cpu`` or ``cuda:0``.
        checkpoints: Where each of them goes on from; None for one that starts.
        slots: How many trials train at a time; as many as there are configs if None.
        precision: Of the matrix products in training: ``float32`` or ``bfloat16``. Weights, the
            optimiser, losses and every evaluation are in float32.

    Raises:
        ConfigError: There are not as many checkpoints as configs, more configs than slots, or a
            trial does not fit the data.
        CheckpointError: A checkpoint is of another trial or other data.
    """

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        data: DataSet,
        *,
        device: str | torch.device = "cpu",
        checkpoints: Sequence[Checkpoint | None] | None = None,
        slots: int | None = None,
        precision: str = "float32",
    ) -> None:
        if checkpoints is None:
            checkpoints = [None] * len(configs)
        if len(checkpoints) != len(configs):
            raise ConfigError.unmet(
                "len(checkpoints) == len(configs)",
                "a pack",
                checkpoints=len(checkpoints),
                configs=len(configs),
            )
        self._device = torch.device(device)
        self._data = data.to(self._device)
        self._slots: list[Slot | None] = [None] * (len(configs) if slots is None else slots)
        for config, checkpoint in zip(configs, checkpoints, strict=True):
            self.admit(config, checkpoint)

    @property
    def free(self) -> int:
        """How many slots wait for a trial."""
        return self._slots.count(None)

    def admit(self, config: TrialConfig, checkpoint: Checkpoint | None = None) -> int:
        """Gives a trial the first free slot, in which it trains from the next epoch on.

        Args:
            config: The trial's settings.
            checkpoint: Where it goes on from; from the start if None.

        Returns:
            The slot.

        Raises:
            ConfigError: No slot is free, or the trial does not fit the data.
            CheckpointError: The checkpoint is of another trial or other data.
        """
        if not self.free:
            raise ConfigError.unmet("free >= 1", "a pack", free=0, slots=len(self._slots))
        index = self._slots.index(None)
        self._slots[index] = Slot(index, config, self._data, self._device, checkpoint)
        return index

    def release(self, slot: int) -> None:
        """Frees a slot, whether or not its trial has ended; its model can no longer be asked for."""
        self._slots[slot] = None

    def train_epoch(self) -> Iterator[EpochResult | Diverged]:
        """Trains one epoch of every live slot, and yields what came of each."""
        for slot in list(self._slots):
            if slot is not None and slot.live:
                yield slot.train_epoch()

    def __iter__(self) -> Iterator[EpochResult | Diverged]:
        """Trains on from where the slots are, until none is live."""
        while any(slot is not None and slot.live for slot in self._slots):
            yield from self.train_epoch()

    def checkpoint(self, slot: int) -> Checkpoint:
        """A copy of a slot's training after its last finished epoch."""
        return self._occupant(slot).checkpoint()

    def model(self, slot: int) -> VAE:
        """The slot's model, on the trainer's device: as it is now, before it trains on."""
        return self._occupant(slot).model

    def stop(self, slot: int) -> None:
        """Trains no more epochs of a slot."""
        self._occupant(slot).ended = True

    def _occupant(self, slot: int) -> Slot:
        occupant = self._slots[slot]
        if occupant is None:
            raise ConfigError(f"Slot {slot} must hold a trial, but it is free.")
        return occupant
