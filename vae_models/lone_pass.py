"""The steps of one trial alone: its model is called as it is."""

from collections.abc import Sequence
from typing import final

from vae_models.regulariser import PriorDraws
from vae_models.slot import Slot
from vae_models.step_losses import StepResult
from vae_models.training_pass import PackInputs, PackResult, Rates, TrainingPass

__all__ = ["LonePass"]


@final
class LonePass(TrainingPass):
    """Makes the steps of a single slot."""

    _slot: Slot | None = None

    def take(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """The slot; there must be one."""
        (slot,) = slots
        if slot is not self._slot:
            self._slot = slot
            self.layout += 1
        return slots

    def step(self, inputs: PackInputs, rates: Rates) -> PackResult:
        """One step of the slot."""
        slot, images, noise = self._slot, inputs.images[0], inputs.noise[0]
        if slot is None:
            raise AssertionError("unreachable: a pass takes slots before it makes a step")
        draws = None if inputs.draws is None else PriorDraws(*(d[0] for d in inputs.draws))
        slot.model.prior.observe(images)
        code = slot.model.code(images, noise)
        result: StepResult = slot.loss(code, images, inputs.annealing[0], draws)
        slot.optimiser.zero_grad()
        result.loss.backward()  # type: ignore[no-untyped-call]
        slot.optimiser.step(rates[0])
        return PackResult(result.terms.unsqueeze(0), result.moments.unsqueeze(0))
