"""One trial's place in a pack: its model, optimiser and random streams, trained epoch by epoch."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from vae_models.checkpoints import Checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import CheckpointError, ConfigError, DataError
from vae_models.likelihood_fit import refuse_unfit
from vae_models.regularisers import Loss, PriorDraws, regulariser_of, stacked
from vae_models.results import Diverged, EpochResult
from vae_models.schedules import annealing_weight
from vae_models.terms import Terms
from vae_models.unit_activity import UnitActivity
from vae_models.vae import build_vae

__all__ = ["Slot"]

_ORDER, _NOISE = 0, 1  # the random streams of a training

_TERMS = ("loss", "NLL's weight", "rate's weight", "rate", "NLL", "squared error")
_ADVICE = "A lower learning rate may help."
_FIRST_ADVICE = "No step had been made: a weight, sigma2 or the data must be out of range."


@final
class Slot:
    """A training that goes on by one epoch at a time.

    The order of the data and the noise of an epoch are drawn from streams of their own, which
    depend on the trial's seed and the epoch only: not on other slots, on the global random state
    or on whether the training was interrupted.

    Args:
        index: The trial's place in the pack.
        config: The trial's settings.
        data: The data, on the device that the training runs on.
        device: That device.
        checkpoint: Where to go on from; from the start if None.

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
    ) -> None:
        if data.train.numel() == 0:
            size = {"n": len(data.train), "pixels": data.pixels}
            raise DataError.unmet("n >= 1 and pixels >= 1", "a training split", **size)
        refuse_unfit(config.model, data)
        self.index = index
        self.config = config
        self.epoch = 0
        self.last: EpochResult | None = None
        self.ended = False
        self._data = data
        self._device = device
        self._batch = min(config.train.batch_size, len(data.train))
        self._steps_per_epoch = len(data.train) // self._batch
        self._regulariser = regulariser_of(
            config, pixels=data.pixels, batch=self._batch, examples=len(data.train)
        ).to(device)
        self.activity = UnitActivity(config.model.latent_dim, device)
        self._noise = torch.Generator(device)
        self.model = build_vae(config.model, data.image_shape, config.train.seed).to(device)
        self._optimiser = torch.optim.Adam(
            self.model.parameters(), lr=config.train.learning_rate, fused=_fuses(device)
        )
        if checkpoint is not None:
            self._resume(checkpoint)

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.epoch * self._steps_per_epoch

    @property
    def live(self) -> bool:
        """Whether there are epochs left to train."""
        return not self.ended and self.epoch < self.config.train.epochs

    def train_epoch(self) -> EpochResult | Diverged:
        """Trains one epoch: as many full batches as the training split has, in a fresh order.

        The host waits for the device once, at the end. So the loss is inspected then, and the
        steps after the first non-finite one are wasted.
        """
        started = time.perf_counter()
        annealing, rates = self._annealing_weights(), self._learning_rates()
        means = self._run_steps(annealing, rates).tolist()
        for offset, terms in enumerate(means):
            if not all(map(math.isfinite, terms)):
                return self._diverged(offset, terms)
        self.epoch += 1
        objective, nll_weight, rate_weight, rate, nll, error = np.mean(means, axis=0).tolist()
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
            active_units=self.activity.end_epoch(self.epoch),
            seconds=time.perf_counter() - started,
        )
        return self.last

    def checkpoint(self) -> Checkpoint:
        """A copy of the training as it is now, between two epochs."""
        states = self._optimiser.state_dict()["state"]
        return Checkpoint(
            config=self.config.to_dict(),
            image_shape=self._data.image_shape,
            data_checksum=self._data.checksum,
            epoch=self.epoch,
            step=self.step,
            model={name: _copy(tensor) for name, tensor in self.model.state_dict().items()},
            optimiser={
                f"{parameter}.{name}": _copy(tensor)
                for parameter, state in states.items()
                for name, tensor in state.items()
            },
            objective={
                name: _copy(tensor) for name, tensor in self._regulariser.state_dict().items()
            },
            last_active_epochs=self.activity.last_active_epochs,
            last=self.last,
        )

    def _run_steps(self, annealing: list[float], rates: list[float]) -> Tensor:
        """Trains one epoch; returns (loss, both weights, rate, NLL, SE) of each step, ``[step, 6]``."""
        order = self._epoch_order()
        history = torch.zeros((self._steps_per_epoch, 6), device=self._device)
        shape = (self._batch, self.config.model.latent_dim)
        group = self._optimiser.param_groups[0]
        for indices, row, weight, rate in zip(order, history, annealing, rates, strict=True):
            images = self._data.batch(indices, self._noise)
            noise = torch.randn(shape, generator=self._noise, device=self._device)
            terms: Terms = self.model(images, noise)
            loss: Loss = self._regulariser(terms, weight, self._prior_draws(shape))
            self._optimiser.zero_grad(set_to_none=True)
            loss.value.backward()  # type: ignore[no-untyped-call]
            group["lr"] = rate
            self._optimiser.step()
            _write(row, loss, terms)
            self.activity.add(terms.posterior.mean, terms.prior.scale)
        return history

    def _prior_draws(self, shape: tuple[int, int]) -> PriorDraws | None:
        if not self._regulariser.needs_prior_draws:
            return None
        noise = torch.randn(shape, generator=self._noise, device=self._device)
        choice = torch.rand(shape[:1], generator=self._noise, device=self._device)
        return PriorDraws(noise, choice)

    def _epoch_order(self) -> Tensor:
        """A fresh permutation of the training split, cut into ``[step, batch]`` indices."""
        seed = self.config.train.seed
        self._noise.manual_seed(_stream_seed(seed, _NOISE, self.epoch))
        # The permutation is drawn on the CPU so that it is the same on every device.
        generator = torch.Generator().manual_seed(_stream_seed(seed, _ORDER, self.epoch))
        order = torch.randperm(len(self._data.train), generator=generator)
        full = order[: self._steps_per_epoch * self._batch]
        return full.view(self._steps_per_epoch, self._batch).to(self._device)

    def _annealing_weights(self) -> list[float]:
        epochs = self.config.train.epochs
        return [
            annealing_weight(self.config.objective, step, self._steps_per_epoch, epochs)
            for step in range(self.step, self.step + self._steps_per_epoch)
        ]

    def _learning_rates(self) -> list[float]:
        highest = self.config.train.learning_rate
        steps = range(self.step, self.step + self._steps_per_epoch)
        if self.config.train.lr_schedule == "constant":
            return [highest for _ in steps]
        total = self._steps_per_epoch * self.config.train.epochs
        return [0.5 * highest * (1 + math.cos(math.pi * step / total)) for step in steps]

    def _diverged(self, offset: int, terms: Sequence[float]) -> Diverged:
        self.ended = True
        epoch, step = self.epoch + 1, self.step + offset + 1
        name, value = next(
            pair for pair in zip(_TERMS, terms, strict=True) if not math.isfinite(pair[1])
        )
        objective = self.config.objective
        beta = f", beta={objective.beta:g}" if objective.reads_beta else ""
        message = (
            f"The training's terms must stay finite, but in epoch {epoch}, at step {step}, "
            f"the {name} was {value} (learning_rate={self.config.train.learning_rate:g}{beta}). "
            f"{_ADVICE if step > 1 else _FIRST_ADVICE}"
        )
        return Diverged(slot=self.index, epoch=epoch, step=step, message=message, last=self.last)

    def _resume(self, checkpoint: Checkpoint) -> None:
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
        stored = self._optimiser.state_dict()
        stored["state"] = _nested(checkpoint.optimiser)
        try:
            self.model.load_state_dict(checkpoint.model)
            self._optimiser.load_state_dict(stored)
            self._regulariser.load_state_dict(checkpoint.objective)
        except (RuntimeError, ValueError, KeyError) as error:
            message = f"A checkpoint's tensors must fit the trial's network, but: {error}"
            raise CheckpointError(message) from error
        self.epoch = checkpoint.epoch
        self.activity.restore(checkpoint.last_active_epochs)
        if checkpoint.last is not None:
            self.last = replace(checkpoint.last, slot=self.index)


@torch.no_grad()
def _write(row: Tensor, loss: Loss, terms: Terms) -> None:
    """Keeps a step's terms on the device."""
    columns = (terms.rate_nats, terms.distortion_nll_nats, terms.distortion_se)
    torch.cat((stacked(loss, row.device), torch.stack([c.mean() for c in columns])), out=row)


def _is_same(stored: Mapping[str, Any], config: TrialConfig) -> bool:
    """Whether stored settings are the trial's; those of an older version lack the newer keys."""
    try:
        return TrialConfig.from_dict(stored) == config
    except ConfigError:
        return False


def _fuses(device: torch.device) -> bool:
    return device.type in ("cpu", "cuda")


def _stream_seed(seed: int, stream: int, epoch: int) -> int:
    """A seed for one stream in one epoch, unrelated to that of any other (NumPy's hash)."""
    state = np.random.SeedSequence([seed, stream, epoch]).generate_state(1, np.uint64)
    return int(state[0])


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _nested(flat: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Adam's state by parameter and name, from the flat names of a checkpoint."""
    nested: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        parameter, name = key.split(".")
        nested.setdefault(int(parameter), {})[name] = tensor.clone()
    return nested
