"""How many trials train best as one program on the device at hand: measured, not guessed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch

from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.pack_memory import bytes_per_trial
from vae_models.trainer import Trainer

__all__ = ["MeasuredPack", "PackTiming", "best_pack", "worthwhile_size"]

_WARM_UP_EPOCHS, _TIMED_EPOCHS = 2, 3
_STEPS = 4  # in an epoch of the measurement
_GAIN = 1.05  # in trials per second, or twice the size is not tried
_WORTH = 1.15  # over trials alone, or they stay alone
_SHARE_OF_MEMORY = 0.8  # of what is free; the rest is for evaluation and for other programs
_LARGEST = 1024


@final
@dataclass(frozen=True, kw_only=True)
class PackTiming:
    """What was measured of one size of pack.

    Attributes:
        size: Trials in it.
        seconds_per_step: Of all of them together, the best of the epochs measured.
    """

    size: int
    seconds_per_step: float

    @property
    def trial_steps_per_second(self) -> float:
        """Steps of single trials."""
        return self.size / self.seconds_per_step


@final
@dataclass(frozen=True, kw_only=True)
class MeasuredPack:
    """The best size of pack, and why.

    Attributes:
        size: The best size that was measured.
        timings: Of all sizes measured, rising.
        stopped_by: Why no larger one was: the most that was asked for, no gain, or memory.
    """

    size: int
    timings: Sequence[PackTiming]
    stopped_by: str


def best_pack(
    config: TrialConfig,
    data: DataSet,
    *,
    device: str | torch.device,
    most: int,
    precision: str = "float32",
    largest_latent_dim: int | None = None,
) -> MeasuredPack:
    """The size of pack with the most trials per second, from a few steps at 1, 2, 4, ….

    The size doubles as long as that gains 5%. A pack tells the sampler less before it asks for the
    next trials, and more is lost when a worker dies: unless it gains 15%, trials stay alone.

    Args:
        config: A trial like those to come.
        data: What they train on.
        device: Where they train.
        most: The largest size to try.
        precision: See `vae_models.trainer.Trainer`.
        largest_latent_dim: Likewise.
    """
    device = torch.device(device)
    few = replace(data, train=data.train[: _STEPS * config.train.batch_size]).to(device)
    timings: list[PackTiming] = []
    for size in _sizes(most):
        if timings and not _fits(config, data, size, device):
            return _choice(timings, f"memory: {size} trials do not fit")
        try:
            timings.append(_timing(config, few, size, device, precision, largest_latent_dim))
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            return _choice(timings, f"memory: {size} trials do not fit")
        if len(timings) > 1 and _gain(timings[-1], timings[-2]) < _GAIN:
            return _choice(timings, "no gain from larger sizes")
    return _choice(timings, "the most that was asked for")


def _sizes(most: int) -> Iterator[int]:
    size = 1
    while size <= min(most, _LARGEST):
        yield size
        size *= 2


def _choice(timings: Sequence[PackTiming], stopped_by: str) -> MeasuredPack:
    size = worthwhile_size(timings) if timings else 1
    return MeasuredPack(size=size, timings=tuple(timings), stopped_by=stopped_by)


def worthwhile_size(timings: Sequence[PackTiming]) -> int:
    """The size with the most trials per second; 1 where it does not gain enough over that.

    Args:
        timings: Of sizes from 1 on.
    """
    best = max(timings, key=lambda timing: timing.trial_steps_per_second)
    return best.size if _gain(best, timings[0]) >= _WORTH else 1


def _gain(timing: PackTiming, other: PackTiming) -> float:
    return timing.trial_steps_per_second / other.trial_steps_per_second


def _fits(config: TrialConfig, data: DataSet, size: int, device: torch.device) -> bool:
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size * bytes_per_trial(config, data) <= _SHARE_OF_MEMORY * (free + cached)


def _timing(
    config: TrialConfig,
    data: DataSet,
    size: int,
    device: torch.device,
    precision: str,
    largest_latent_dim: int | None,
) -> PackTiming:
    epochs = _WARM_UP_EPOCHS + _TIMED_EPOCHS
    trials = [
        replace(config, train=replace(config.train, seed=seed, epochs=epochs))
        for seed in range(size)
    ]
    trainer = Trainer(
        trials, data, device=device, precision=precision, largest_latent_dim=largest_latent_dim
    )
    for _ in range(_WARM_UP_EPOCHS):
        list(trainer.train_epoch())
    seconds = [_seconds_of_epoch(trainer) for _ in range(_TIMED_EPOCHS)]
    steps = max(1, len(data.train) // config.train.batch_size)
    return PackTiming(size=size, seconds_per_step=min(seconds) / steps)


def _seconds_of_epoch(trainer: Trainer) -> float:
    """An epoch ends when the device has done it: the trainer reads its results."""
    started = time.perf_counter()
    list(trainer.train_epoch())
    return time.perf_counter() - started
