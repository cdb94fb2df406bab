"""One trial's place in a pack: its model, optimiser and random streams, trained epoch by epoch."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from vae_models.checkpoints import Checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import CheckpointError, ConfigError
from vae_models.objective import Weights, raw_weight_of, weights_of
from vae_models.results import Diverged, EpochResult
from vae_models.schedules import annealing_weight
from vae_models.vae import Terms, build_vae, training_loss

__all__ = ["Slot"]

_ORDER, _NOISE = 0, 1  # the random streams of a training


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
        _refuse_unfit_likelihood(config, data)
        self.index = index
        self.config = config
        self.epoch = 0
        self.last: EpochResult | None = None
        self.ended = False
        self._data = data
        self._device = device
        self._batch = min(config.train.batch_size, len(data.train))
        self._steps_per_epoch = len(data.train) // self._batch
        self._weights = _weights(config, data, self._batch)
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
                return self._diverged(offset, terms[0])
        self.epoch += 1
        objective, rate, nll, error = np.mean(means, axis=0).tolist()
        self.last = EpochResult(
            slot=self.index,
            epoch=self.epoch,
            step=self.step,
            rate_nats=rate,
            distortion_se=error,
            distortion_nll_nats=nll,
            objective=objective,
            annealing_weight=float(np.mean(annealing)),
            nll_weight=self._weights.nll,
            rate_weight=self._weights.rate * float(np.mean(annealing)),
            learning_rate=float(np.mean(rates)),
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
            last=self.last,
        )

    def _run_steps(self, annealing: list[float], rates: list[float]) -> Tensor:
        """Trains one epoch; returns (loss, rate, NLL, SE) of every step as ``[step, 4]``."""
        order = self._epoch_order()
        history = torch.zeros((self._steps_per_epoch, 4), device=self._device)
        shape = (self._batch, self.config.model.latent_dim)
        group = self._optimiser.param_groups[0]
        for indices, row, weight, rate in zip(order, history, annealing, rates, strict=True):
            images = self._data.batch(indices, self._noise)
            noise = torch.randn(shape, generator=self._noise, device=self._device)
            terms: Terms = self.model(images, noise)
            loss = training_loss(terms, self._weights, weight)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            group["lr"] = rate
            self._optimiser.step()
            _write(row, loss, terms)
        return history

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

    def _diverged(self, offset: int, loss: float) -> Diverged:
        self.ended = True
        epoch, step = self.epoch + 1, self.step + offset + 1
        message = (
            f"The training's terms must stay finite, but in epoch {epoch}, at step {step}, "
            f"the loss was {loss} (learning_rate={self.config.train.learning_rate:g}, "
            f"beta={self.config.objective.beta:g}). A lower learning rate may help."
        )
        return Diverged(slot=self.index, epoch=epoch, step=step, message=message, last=self.last)

    def _resume(self, checkpoint: Checkpoint) -> None:
        if checkpoint.config != self.config.to_dict():
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
        except (RuntimeError, ValueError, KeyError) as error:
            message = f"A checkpoint's tensors must fit the trial's network, but: {error}"
            raise CheckpointError(message) from error
        self.epoch = checkpoint.epoch
        if checkpoint.last is not None:
            self.last = replace(checkpoint.last, slot=self.index)


@torch.no_grad()
def _write(row: Tensor, loss: Tensor, terms: Terms) -> None:
    """Keeps a step's terms on the device."""
    rate, nll = terms.rate_nats.mean(), terms.distortion_nll_nats.mean()
    torch.stack((loss, rate, nll, terms.distortion_se.mean()), out=row)


def _weights(config: TrialConfig, data: DataSet, batch: int) -> Weights:
    """The pair of weights that trains the trial's canonical beta in the trial's reduction."""
    objective = config.objective
    sizes = {"pixels": data.pixels, "latents": config.model.latent_dim, "batch": batch}
    raw = raw_weight_of(objective.reduction, objective.beta, **sizes)
    return weights_of(objective.reduction, raw, **sizes)


def _refuse_unfit_likelihood(config: TrialConfig, data: DataSet) -> None:
    if config.model.likelihood == "bernoulli" and data.peak is None:
        raise ConfigError(
            f"Likelihood 'bernoulli' must have data between 0 and 1, but got {data.name!r}, "
            f"whose values have no bounds. Use 'gaussian' or 'gaussian_learned'."
        )


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
