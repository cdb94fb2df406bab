"""One trial's place in a pack: its model, optimiser and random streams, between two epochs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from vae_models.adam import Adam
from vae_models.checkpoints import Checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import CheckpointError, ConfigError, DataError
from vae_models.likelihood_fit import refuse_unfit
from vae_models.padding import Padding
from vae_models.random_streams import RandomStreams
from vae_models.regularisers import regulariser_of
from vae_models.results import Diverged, EpochResult
from vae_models.schedules import annealing_weight
from vae_models.shape_family import loss_structure
from vae_models.step_losses import STEP_TERMS, StepLoss
from vae_models.unit_activity import UnitActivity
from vae_models.vae import VAE, build_vae

__all__ = ["Slot"]

_ADVICE = "A lower learning rate may help."
_FIRST_ADVICE = "No step had been made: a weight, sigma2 or the data must be out of range."


@final
class Slot:
    """A training that goes on by one epoch at a time; `vae_models.pack` makes its steps.

    Args:
        index: The trial's place in the trainer.
        config: The trial's settings.
        data: The data, on the device that the training runs on.
        device: That device.
        checkpoint: Where to go on from; from the start if None.
        width: Latents of the pack, those of this trial and idle ones; None for no idle ones.
        bfloat16: Whether the matrix products of the networks are in bfloat16.

    Attributes:
        model: The trial's model, as wide as the pack.
        loss: Its likelihood and its regulariser.
        optimiser: Adam on the model's parameters.
        structure: See `vae_models.shape_family.loss_structure`.
        streams: Its random numbers.
        epoch: Epochs finished.
        ended: Whether it trains no further, whatever its epoch.

    Raises:
        ConfigError: The likelihood does not fit the data.
        DataError: There is no training example, or a value is NaN or infinite.
        CheckpointError: The checkpoint is of another trial or other data.
    """

    def __init__(
        self,
        index: int,
        config: TrialConfig,
        data: DataSet,
        device: torch.device,
        checkpoint: Checkpoint | None = None,
        *,
        width: int | None = None,
        bfloat16: bool = False,
    ) -> None:
        if data.train.numel() == 0:
            size = {"n": len(data.train), "pixels": data.pixels}
            raise DataError.unmet("n >= 1 and pixels >= 1", "a training split", **size)
        refuse_unfit(config.model, data)
        self.index = index
        self.config = config
        self.structure = loss_structure(config)
        self.epoch = 0
        self.last: EpochResult | None = None
        self.ended = False
        self._data = data
        self._device = device
        self.batch = min(config.train.batch_size, len(data.train))
        self.steps_per_epoch = len(data.train) // self.batch
        self.streams = RandomStreams(
            config.train.seed,
            latents=config.model.latent_dim,
            batch=self.batch,
            examples=len(data.train),
            device=device,
        )
        self._activity = UnitActivity(config.model.latent_dim)
        self._padding = None if width is None else Padding(config.model, width)
        own = build_vae(config.model, data.image_shape, config.train.seed)
        self._shapes = {name: tensor.shape for name, tensor in own.state_dict().items()}
        regulariser = regulariser_of(
            config, pixels=data.pixels, batch=self.batch, examples=len(data.train)
        )
        if checkpoint is not None:
            self._check(checkpoint)
            _load(own, checkpoint.model)
            _load(regulariser, checkpoint.objective)
        self.model = self._widened(own).to(device)
        self.model.in_bfloat16 = bfloat16
        self.loss = StepLoss(self.model.likelihood, regulariser.to(device))
        self.optimiser = Adam(self.model.parameters())
        if checkpoint is not None:
            self._resume(checkpoint)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.epoch * self.steps_per_epoch

    @property
    def live(self) -> bool:
        """Whether there are epochs left to train."""
        return not self.ended and self.epoch < self.config.train.epochs

    def annealing_weights(self) -> list[float]:
        """The share of the KL's weight at every step of the next epoch."""
        epochs = self.config.train.epochs
        return [
            annealing_weight(self.config.objective, step, self.steps_per_epoch, epochs)
            for step in range(self.step, self.step + self.steps_per_epoch)
        ]

    def learning_rates(self) -> list[float]:
        """Adam's step size at every step of the next epoch."""
        highest = self.config.train.learning_rate
        steps = range(self.step, self.step + self.steps_per_epoch)
        if self.config.train.lr_schedule == "constant":
            return [highest for _ in steps]
        total = self.steps_per_epoch * self.config.train.epochs
        return [0.5 * highest * (1 + math.cos(math.pi * step / total)) for step in steps]

    def end_epoch(
        self,
        terms: Sequence[Sequence[float]],
        moments: Sequence[Sequence[float]],
        seconds: float,
    ) -> EpochResult | Diverged:
        """Counts an epoch whose steps were made.

        Args:
            terms: `STEP_TERMS` of every step.
            moments: Of the posterior means, over the epoch, of the trial's own latents first.
            seconds: How long the epoch took.
        """
        for offset, step_terms in enumerate(terms):
            if not all(map(math.isfinite, step_terms)):
                return self._diverged(offset, step_terms)
        annealing, rates = self.annealing_weights(), self.learning_rates()
        objective, nll_weight, rate_weight, rate, nll, error = np.mean(terms, axis=0).tolist()
        self.epoch += 1
        own = [row[: self.config.model.latent_dim] for row in moments]
        self.last = EpochResult(
            slot=self.index,
            epoch=self.epoch,
            step=self.step,
            rate_nats=rate,
            distortion_se=error,
            distortion_nll_nats=nll,
            objective=objective,
            annealing_weight=float(np.mean(annealing)),
            nll_weight=nll_weight,
            rate_weight=rate_weight,
            learning_rate=float(np.mean(rates)),
            active_units=self._activity.end_epoch(self.epoch, own, len(terms) * self.batch),
            seconds=seconds,
        )
        return self.last

    def checkpoint(self) -> Checkpoint:
        """A copy of the training as it is now, between two epochs: the same in any pack."""
        names = [name for name, _ in self.model.named_parameters()]
        return Checkpoint(
            config=self.config.to_dict(),
            image_shape=self._data.image_shape,
            data_checksum=self._data.checksum,
            epoch=self.epoch,
            step=self.step,
            model=self._own_state(),
            optimiser={
                f"{parameter}.{name}": _copy(self._narrowed(names[parameter], tensor))
                for parameter, state in enumerate(self.optimiser.states)
                for name, tensor in state.items()
            },
            objective={
                name: _copy(tensor) for name, tensor in self.loss.regulariser.state_dict().items()
            },
            last_active_epochs=self._activity.last_active_epochs,
            last=self.last,
        )

    def move_into(self, old: "Slot") -> None:
        """Trains on in the memory in which another slot of the same structure trained.

        The other keeps copies. A program that was recorded on the device goes on to work.
        """
        pairs = [
            *zip(old.model.parameters(), self.model.parameters(), strict=True),
            *zip(old.model.buffers(), self.model.buffers(), strict=True),
            *zip(old.loss.regulariser.buffers(), self.loss.regulariser.buffers(), strict=True),
        ]
        for theirs, ours in pairs:
            memory, theirs.data = theirs.data, theirs.data.clone()
            ours.data = memory.copy_(ours.data)
        self.optimiser.move_into(old.optimiser)

    def own_model(self) -> VAE:
        """The trial's model without idle latents: itself where there are none, else a copy."""
        if self._padding is None:
            return self.model
        own = build_vae(self.config.model, self._data.image_shape, self.config.train.seed)
        own.load_state_dict(self._own_state())
        return own.to(self._device)

    def widened(self, noise: Float[Tensor, "*step batch latent"]) -> Tensor:
        """Noise of the trial's latents, filled up with zeros for the idle ones."""
        if self._padding is None:
            return noise
        return pad(noise, (0, self._padding.width - noise.shape[-1]))

    def _own_state(self) -> dict[str, Tensor]:
        return {
            name: _copy(self._narrowed(name, tensor))
            for name, tensor in self.model.state_dict().items()
        }

    def _widened(self, own: VAE) -> VAE:
        """The model among as many idle latents as the pack has; itself if it is to have none."""
        if self._padding is None:
            return own
        width = self._padding.width
        config = replace(self.config.model, latent_dim=width)
        wide = build_vae(config, self._data.image_shape, self.config.train.seed)
        shapes = {name: tensor.shape for name, tensor in wide.state_dict().items()}
        wide.load_state_dict(
            {name: self._padding.embed(t, shapes[name]) for name, t in own.state_dict().items()}
        )
        wide.in_use = (torch.arange(width) < self.config.model.latent_dim).float()
        return wide

    def _narrowed(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of a parameter's own shape, without what belongs to idle latents."""
        if self._padding is None or tensor.ndim == 0:
            return tensor
        return self._padding.extract(tensor, self._shapes[name])

    def _diverged(self, offset: int, terms: Sequence[float]) -> Diverged:
        self.ended = True
        epoch, step = self.epoch + 1, self.step + offset + 1
        name, value = next(
            pair for pair in zip(STEP_TERMS, terms, strict=True) if not math.isfinite(pair[1])
        )
        objective = self.config.objective
        beta = f", beta={objective.beta:g}" if objective.reads_beta else ""
        message = (
            f"The training's terms must stay finite, but in epoch {epoch}, at step {step}, "
            f"the {name} was {value} (learning_rate={self.config.train.learning_rate:g}{beta}). "
            f"{_ADVICE if step > 1 else _FIRST_ADVICE}"
        )
        return Diverged(slot=self.index, epoch=epoch, step=step, message=message, last=self.last)

    def _check(self, checkpoint: Checkpoint) -> None:
        if not _is_same(checkpoint.config, self.config):
            raise CheckpointError(
                f"A checkpoint's settings must be those of the trial, but got "
                f"{checkpoint.config!r} for {self.config.to_dict()!r}."
            )
        if checkpoint.data_checksum != self._data.checksum:
            raise CheckpointError.unmet(
                "checkpoint == data",
                "the checksums of a checkpoint's data and the data to go on with",
                checkpoint=checkpoint.data_checksum,
                data=self._data.checksum,
            )

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Goes on with Adam's state and the counts of a checkpoint."""
        try:
            self.optimiser.load(self._wide_states(checkpoint.optimiser))
        except (RuntimeError, ValueError, LookupError) as error:
            raise _unfit(error) from error
        self.epoch = checkpoint.epoch
        self._activity.restore(checkpoint.last_active_epochs)
        if checkpoint.last is not None:
            self.last = replace(checkpoint.last, slot=self.index)

    def _wide_states(self, flat: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
        """Adam's state by parameter and name, from the flat names of a checkpoint."""
        wide = list(self.model.parameters())
        nested: dict[int, dict[str, Tensor]] = {}
        for key, tensor in flat.items():
            parameter, _, name = key.partition(".")
            place = int(parameter)
            if self._padding is not None and tensor.ndim > 0:
                tensor = self._padding.embed(tensor, wide[place].shape)  # noqa: PLW2901
            nested.setdefault(place, {})[name] = tensor
        return nested


def _load(module: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError) as error:
        raise _unfit(error) from error


def _unfit(error: Exception) -> CheckpointError:
    return CheckpointError(f"A checkpoint's tensors must fit the trial's network, but: {error}")


def _is_same(stored: Mapping[str, Any], config: TrialConfig) -> bool:
    """Whether stored settings are the trial's; those of an older version lack the newer keys."""
    try:
        return TrialConfig.from_dict(stored) == config
    except ConfigError:
        return False


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)
