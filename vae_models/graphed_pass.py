"""Training steps recorded once as a CUDA graph, and played from then on."""

import logging
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from vae_models.slot import Slot
from vae_models.training_pass import PackInputs, PackResult, Rates, TrainingPass

__all__ = ["GraphedPass"]

_log = logging.getLogger(__name__)

_EAGER_STEPS = 3  # before a recording: kernels are chosen and workspaces made in them


@final
class GraphedPass(TrainingPass):
    """Makes the steps of another pass as one launch each, where the device can record them.

    A step of a small model is hundreds of kernels, each shorter than its launch. What is recorded
    works in fixed memory: the inputs of a step are copied there, and the recording is thrown away
    when the other pass changes its layout.

    Args:
        inner: Makes the steps that are recorded.
    """

    def __init__(self, inner: TrainingPass) -> None:
        self._inner = inner
        self._recorded: _Recording | None = None
        self._eager_steps = 0
        self._records = True

    def take(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """As the other pass does."""
        order = self._inner.take(slots)
        if self.layout != self._inner.layout:
            self.layout = self._inner.layout
            self._recorded = None
            self._eager_steps = 0
        return order

    def step(self, inputs: PackInputs, rates: Rates) -> PackResult:
        """One step of every slot."""
        if self._recorded is not None:
            return self._recorded.play(inputs, rates)
        if not self._records or self._eager_steps < _EAGER_STEPS or not isinstance(rates, Tensor):
            self._eager_steps += 1
            return self._inner.step(inputs, rates)
        try:
            self._recorded = _Recording(self._inner, inputs, rates)
        except RuntimeError as error:
            # An operation that cannot be recorded makes training slower, not impossible.
            _log.warning("the training step is not recorded as a CUDA graph: %s", error)
            self._records = False
            return self._inner.step(inputs, rates)
        return self._recorded.play(inputs, rates)


@final
class _Recording:
    """One step of a pass, in fixed memory."""

    def __init__(self, inner: TrainingPass, inputs: PackInputs, rates: Tensor) -> None:
        self._rates = rates.clone()
        self._inputs = PackInputs(
            images=inputs.images.clone(),
            noise=inputs.noise.clone(),
            annealing=inputs.annealing.clone(),
            draws=None if inputs.draws is None else _clones(inputs.draws),
        )
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = inner.step(self._inputs, self._rates)

    def play(self, inputs: PackInputs, rates: Rates) -> PackResult:
        """The step with other inputs; its result is overwritten by the next one."""
        if not isinstance(rates, Tensor):
            raise TypeError("Rates must be a tensor on CUDA.")
        self._rates.copy_(rates)
        self._inputs.images.copy_(inputs.images)
        self._inputs.noise.copy_(inputs.noise)
        self._inputs.annealing.copy_(inputs.annealing)
        if self._inputs.draws is not None and inputs.draws is not None:
            for fixed, given in zip(self._inputs.draws, inputs.draws, strict=True):
                fixed.copy_(given)
        self._graph.replay()
        return self._result


def _clones(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Copies of both."""
    return pair[0].clone(), pair[1].clone()
