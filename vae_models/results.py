"""What a training yields, epoch by epoch."""

from dataclasses import dataclass
from typing import final

__all__ = ["Diverged", "EpochResult"]


@final
@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """One epoch of one slot: means over its steps, on training data, with z ~ q(z|x).

    Attributes:
        slot: The trial's place in the pack.
        epoch: Epochs finished, from 1.
        step: Optimiser steps done.
        rate_nats: KL at weight one, nats per example.
        distortion_se: Squared error per example, in squared model units.
        distortion_nll_nats: Nats per example under the trial's own likelihood.
        objective: The loss that was minimised, in training units: not comparable across trials.
        annealing_weight: The share of the KL's weight in force, mean over the steps.
        nll_weight: The weight on the NLL in nats, mean over the steps.
        rate_weight: The weight on the rate in nats, annealing included, mean over the steps; what
            the gradient amounts to where the regulariser is no weighted KL.
        active_units: Latents whose posterior mean varied over the epoch's training examples.
        learning_rate: Adam's step size in force, mean over the steps.
        seconds: Wall-clock seconds that the epoch took.
    """

    slot: int
    epoch: int
    step: int
    rate_nats: float
    distortion_se: float
    distortion_nll_nats: float
    objective: float
    annealing_weight: float
    nll_weight: float
    rate_weight: float
    learning_rate: float
    seconds: float
    active_units: int | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Diverged:
    """The end of a slot whose loss became NaN or infinite.

    Attributes:
        slot: The trial's place in the pack.
        epoch: The epoch in which it happened, from 1.
        step: The optimiser step whose loss was the first non-finite one, from 1.
        message: What happened, for people.
        last: The last epoch with finite losses only; None if there was none.
    """

    slot: int
    epoch: int
    step: int
    message: str
    last: EpochResult | None
