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
    """Trains a pack of trials; a lone trial is a pack of one.

    Iterating trains, one epoch of every live slot in turn, and yields what came of each. A slot
    leaves the pack after its last epoch, when its loss is no longer finite, or when it is stopped;
    the others go on and their numbers do not change.

        trainer = Trainer([config], data)
        for result in trainer:
            ...

    Args:
        configs: The settings of each slot's trial.
        data: The data that all of them train on.
        device: Where to train, such as ``cpu`` or ``cuda:0``.
        checkpoints: Where each slot goes on from; None for a slot that starts.

    Raises:
        ConfigError: There are not as many checkpoints as configs, or a trial does not fit the data.
        CheckpointError: A checkpoint is of another trial or other data.
    """

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        data: DataSet,
        *,
        device: str | torch.device = "cpu",
        checkpoints: Sequence[Checkpoint | None] | None = None,
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
        device = torch.device(device)
        resident = data.to(device)
        self._slots = [
            Slot(index, config, resident, device, checkpoint)
            for index, (config, checkpoint) in enumerate(zip(configs, checkpoints, strict=True))
        ]

    def __iter__(self) -> Iterator[EpochResult | Diverged]:
        """Trains on from where the slots are, until none is live."""
        while any(slot.live for slot in self._slots):
            for slot in self._slots:
                if slot.live:
                    yield slot.train_epoch()

    def checkpoint(self, slot: int) -> Checkpoint:
        """A copy of a slot's training after its last finished epoch."""
        return self._slots[slot].checkpoint()

    def model(self, slot: int) -> VAE:
        """The slot's model itself, on the trainer's device; training goes on changing it."""
        return self._slots[slot].model

    def stop(self, slot: int) -> None:
        """Trains no more epochs of a slot."""
        self._slots[slot].ended = True
