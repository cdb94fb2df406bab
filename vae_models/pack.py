"""Trials of one shape family, trained together as one program."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from vae_models.data import DataSet
from vae_models.graphed_pass import GraphedPass
from vae_models.image_sources import ImageSource
from vae_models.lone_pass import LonePass
from vae_models.packed_pass import PackedPass
from vae_models.random_streams import STEPS_AT_A_TIME
from vae_models.results import Diverged, EpochResult
from vae_models.slot import Slot
from vae_models.step_losses import STEP_TERMS
from vae_models.training_pass import PackInputs, Rates, TrainingPass

__all__ = ["Pack"]


@final
@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What an epoch of some slots is made of, a row for each.

    Attributes:
        order: Indices of the training examples, on the CPU.
        annealing: Shares of the KL's weight, on the device.
        rates: Learning rates.
    """

    order: Int[Tensor, "step row batch"]
    annealing: Float[Tensor, "step row"]
    rates: Sequence[Rates]


@final
class Pack:
    """Slots whose steps are made together; the numbers of none depend on the others.

    Args:
        data: The data, on any device.
        images: Where its training examples come from.
        device: Of the training.
        together: Whether the slots' models are called as one (see `vae_models.packed_pass`); else
            there must never be more than one slot.
    """

    def __init__(
        self, data: DataSet, images: ImageSource, device: torch.device, *, together: bool
    ) -> None:
        self._data = data
        self._source = images
        self._device = device
        self._slots: list[Slot] = []
        self._pass: TrainingPass = PackedPass() if together else LonePass()
        if device.type == "cuda":
            self._pass = GraphedPass(self._pass)

    def add(self, slot: Slot) -> None:
        """Trains the slot, too, from the next epoch on."""
        self._slots.append(slot)

    def remove(self, slot: Slot) -> None:
        """Trains the slot no more."""
        self._slots.remove(slot)

    @property
    def live(self) -> list[Slot]:
        """The slots that have epochs left to train."""
        return [slot for slot in self._slots if slot.live]

    def train_epoch(self) -> Iterator[EpochResult | Diverged]:
        """Trains one epoch of every live slot, and yields what came of each.

        That is as many full batches as the training split has, in a fresh order. The host waits
        for the device once, at the end. So the losses are inspected then, and the steps of a slot
        after its first non-finite one are wasted.
        """
        if not self.live:
            return
        started = time.perf_counter()
        live = self._pass.take(self.live)
        terms, moments = self._run_steps(live)
        step_terms, sums = terms.transpose(0, 1).tolist(), moments.tolist()
        seconds = time.perf_counter() - started
        for row in sorted(range(len(live)), key=lambda row: live[row].index):
            yield live[row].end_epoch(step_terms[row], sums[row], seconds)

    def _run_steps(self, live: Sequence[Slot]) -> tuple[Tensor, Tensor]:
        """Trains one epoch; returns ``[step, row, term]`` and the moments ``[row, 2, latent]``."""
        plan = self._plan(live)
        steps = len(plan.order)
        history = torch.empty((steps, len(live), len(STEP_TERMS)), device=self._device)
        moments: Tensor | None = None
        for step, stored in enumerate(self._source.steps(plan.order)):
            offset = step % STEPS_AT_A_TIME
            if offset == 0:
                noise, draws = self._noise(live, min(STEPS_AT_A_TIME, steps - step))
            inputs = PackInputs(
                images=self._seen(live, stored),
                noise=noise[offset],
                annealing=plan.annealing[step],
                draws=None if draws is None else (draws[0][offset], draws[1][offset]),
            )
            done = self._pass.step(inputs, plan.rates[step])
            history[step] = done.terms
            moments = done.moments.clone() if moments is None else moments.add_(done.moments)
        if moments is None:
            raise AssertionError("unreachable: an epoch has a step")
        return history, moments

    def _plan(self, live: Sequence[Slot]) -> _Plan:
        order = torch.stack([slot.streams.start_epoch(slot.epoch) for slot in live], 1)
        annealing = torch.tensor([slot.annealing_weights() for slot in live]).T
        rates = self._rates([slot.learning_rates() for slot in live])
        device = self._device
        return _Plan(order=order, annealing=annealing.to(device), rates=rates)

    def _rates(self, by_slot: Sequence[Sequence[float]]) -> Sequence[Rates]:
        """The learning rates of each step, on the device if that is a CUDA one."""
        if self._device.type == "cuda":
            return list(torch.tensor(by_slot).T.contiguous().to(self._device))
        return list(zip(*by_slot, strict=True))

    def _noise(
        self, live: Sequence[Slot], steps: int
    ) -> tuple[Float[Tensor, "step row batch latent"], tuple[Tensor, Tensor] | None]:
        """The noise of the next steps, and what draws from the prior are made of."""
        noise = torch.stack([slot.widened(slot.streams.noise(steps)) for slot in live], 1)
        if not any(slot.loss.regulariser.needs_prior_draws for slot in live):
            return noise, None
        normal, choice = zip(*(slot.streams.prior_draws(steps) for slot in live), strict=True)
        wide = [slot.widened(draws) for slot, draws in zip(live, normal, strict=True)]
        return noise, (torch.stack(wide, 1), torch.stack(choice, 1))

    def _seen(
        self, live: Sequence[Slot], stored: Shaped[Tensor, "row batch channel height width"]
    ) -> Float[Tensor, "row batch channel height width"]:
        """What the models see; each slot draws for itself under a dynamic binarisation."""
        images = self._data.in_model_units(stored)
        if self._data.binarisation != "dynamic":
            return images
        shape = tuple(images.shape[1:])
        uniforms = torch.stack([slot.streams.uniforms(shape) for slot in live])
        return (uniforms < images).to(images)
