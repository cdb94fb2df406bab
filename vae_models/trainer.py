"""The one trainer: a pack of trials, trained together, that yields results epoch by epoch."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import final

import torch

from vae_models.checkpoints import Checkpoint
from vae_models.config import LARGEST_FULL_LATENT, TrialConfig
from vae_models.data import DataSet
from vae_models.errors import ConfigError
from vae_models.example_terms import ExampleTerms, example_terms
from vae_models.image_sources import source_of
from vae_models.pack import Pack
from vae_models.packed_evaluation import packed_example_terms
from vae_models.results import Diverged, EpochResult
from vae_models.shape_family import shape_family
from vae_models.slot import Slot
from vae_models.step_cost import step_flops
from vae_models.vae import VAE

__all__ = ["PRECISIONS", "Diverged", "EpochResult", "Trainer"]

PRECISIONS = ("float32", "bfloat16", "mixed")
"""Of matrix products: ``mixed`` is bfloat16 where a step has enough of them, else float32."""

_ENOUGH = 1e8  # operations of a step, below which rounding the weights costs more than it gains


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
        data: The data that all of them train on, on any device. What is larger than half of a
            GPU's free memory should be on the CPU: it is then streamed.
        device: Where to train, such as ``cpu`` or ``cuda:0``.
        checkpoints: Where each of them goes on from; None for one that starts.
        slots: How many trials train at a time; as many as there are configs if None. With one,
            the model is called as it is; with more, those of one shape family (see
            `vae_models.shape_family`) are called as one.
        precision: Of the matrix products in training, one of `PRECISIONS`. Weights, the
            optimiser, losses and every evaluation are in float32.
        largest_latent_dim: Latents to which the trials of a pack are filled up with idle ones; as
            many as the largest of the configs if None. A trial with more gets a pack of its own.

    Raises:
        ConfigError: There are not as many checkpoints as configs, more configs than slots, an
            unknown precision, or a trial does not fit the data.
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
        largest_latent_dim: int | None = None,
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
        if precision not in PRECISIONS:
            raise ConfigError.unknown("precision", precision, PRECISIONS)
        self._device = torch.device(device)
        self._precision = precision
        self._data = data
        self._source = source_of(data, self._device)
        self._slots: list[Slot | None] = [None] * (len(configs) if slots is None else slots)
        self._width = largest_latent_dim or max((c.model.latent_dim for c in configs), default=1)
        self._packs: dict[Hashable, Pack] = {}
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
        width = self._width_for(config)
        slot = Slot(
            index,
            config,
            self._data,
            self._device,
            checkpoint,
            width=width,
            bfloat16=self._in_bfloat16(config),
        )
        self._slots[index] = slot
        self._pack_of(slot, width).add(slot)
        return index

    def release(self, slot: int) -> None:
        """Frees a slot, whether or not its trial has ended; its model can no longer be asked for."""
        occupant = self._occupant(slot)
        self._pack_of(occupant, self._width_for(occupant.config)).remove(occupant)
        self._slots[slot] = None

    def train_epoch(self) -> Iterator[EpochResult | Diverged]:
        """Trains one epoch of every live slot, and yields what came of each."""
        for pack in list(self._packs.values()):
            yield from pack.train_epoch()

    def __iter__(self) -> Iterator[EpochResult | Diverged]:
        """Trains on from where the slots are, until none is live."""
        while any(slot is not None and slot.live for slot in self._slots):
            yield from self.train_epoch()

    def checkpoint(self, slot: int) -> Checkpoint:
        """A copy of a slot's training after its last finished epoch."""
        return self._occupant(slot).checkpoint()

    def model(self, slot: int) -> VAE:
        """The slot's model, on the trainer's device.

        Alone it is the model itself, which training goes on changing; of a pack, a copy.
        """
        return self._occupant(slot).own_model()

    def heldout_terms(self, slots: Sequence[int], *, samples: int = 1) -> dict[int, ExampleTerms]:
        """What the held-out examples cost under the models of some slots, for `evaluate`.

        Models that train as one are measured as one.

        Args:
            slots: Which.
            samples: Draws of z per example.
        """
        groups: dict[Hashable, list[Slot]] = {}
        for slot in map(self._occupant, slots):
            alike = (shape_family(slot.config), slot.model.latent_dim, *slot.structure[:2])
            groups.setdefault(alike, []).append(slot)
        images = self._data.heldout_images()
        found: dict[int, ExampleTerms] = {}
        for group in groups.values():
            if len(group) == 1:
                terms = [example_terms(group[0].own_model(), images, samples=samples)]
            else:
                terms = packed_example_terms(
                    [slot.model for slot in group],
                    [slot.config.model.latent_dim for slot in group],
                    images,
                    samples=samples,
                    batch_size=max(32, 512 // len(group)),
                )
            found.update(zip((slot.index for slot in group), terms, strict=True))
        return found

    def stop(self, slot: int) -> None:
        """Trains no more epochs of a slot."""
        self._occupant(slot).ended = True

    def _occupant(self, slot: int) -> Slot:
        occupant = self._slots[slot]
        if occupant is None:
            raise ConfigError(f"Slot {slot} must hold a trial, but it is free.")
        return occupant

    def _in_bfloat16(self, config: TrialConfig) -> bool:
        """As all trials of its pack, whatever their latents: they are called as one."""
        if self._precision != "mixed":
            return self._precision == "bfloat16"
        widest = replace(config, model=replace(config.model, latent_dim=self._widest(config)))
        return step_flops(widest, self._data.image_shape) >= _ENOUGH

    def _width_for(self, config: TrialConfig) -> int | None:
        """The latents of the pack in which a trial trains; None for a trainer of one slot."""
        return None if len(self._slots) == 1 else self._widest(config)

    def _widest(self, config: TrialConfig) -> int:
        """The most latents of a trial that may share a pack with this one."""
        largest = LARGEST_FULL_LATENT if config.model.posterior == "full" else self._width
        return max(min(self._width, largest), config.model.latent_dim)

    def _pack_of(self, slot: Slot, width: int | None) -> Pack:
        family = (shape_family(slot.config), width)
        if family not in self._packs:
            together = len(self._slots) > 1
            self._packs[family] = Pack(self._data, self._source, self._device, together=together)
        return self._packs[family]
