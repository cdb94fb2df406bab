"""Adam as torch computes it, without what `torch.optim.Adam` adds in time.

Making the first `torch.optim.Optimizer` of a process imports `torch._dynamo`, which takes more
than a second, and its `step` takes a quarter of a millisecond besides the arithmetic.
"""

from collections.abc import Iterable, Mapping
from typing import final

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["Adam"]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_STEP, _FIRST, _SECOND = "step", "exp_avg", "exp_avg_sq"


@final
class Adam:
    """Adam with torch's own defaults.

    D. P. Kingma, J. Ba (2015), https://arxiv.org/abs/1412.6980. In one kernel on a CPU and on
    CUDA.

    Args:
        parameters: What is optimised, all on one device.

    Attributes:
        states: Of every parameter in turn, the steps done and both moments, by torch's names.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = list(parameters)
        self._fused = all(p.device.type in ("cpu", "cuda") for p in self._parameters)
        self._on_cuda = all(p.device.type == "cuda" for p in self._parameters)
        self.states: list[dict[str, Tensor]] = [self._start(p) for p in self._parameters]

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float | Tensor) -> None:
        """One step of every parameter that has a gradient."""
        given = [
            (parameter, parameter.grad, state)
            for parameter, state in zip(self._parameters, self.states, strict=True)
            if parameter.grad is not None
        ]
        adam(
            [parameter for parameter, _, _ in given],
            [gradient for _, gradient, _ in given],
            [state[_FIRST] for _, _, state in given],
            [state[_SECOND] for _, _, state in given],
            [],
            [state[_STEP] for _, _, state in given],
            foreach=False,
            capturable=self._on_cuda,
            fused=self._fused,
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )

    @torch.no_grad()
    def load(self, states: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Goes on from copies of these states, by the parameter's place; others start anew.

        Raises:
            KeyError: A place or a name is unknown, or one is missing.
            RuntimeError: A tensor has another shape.
        """
        for place, state in enumerate(self.states):
            given = states.get(place)
            for name, tensor in state.items():
                if given is None:
                    tensor.zero_()
                else:
                    _copy(tensor, given[name], f"{place}.{name}")
        if unknown := states.keys() - set(range(len(self.states))):
            raise KeyError(f"there is no parameter {min(unknown)}")

    @torch.no_grad()
    def move_into(self, old: "Adam") -> None:
        """Goes on with its own states in the memory of another's, which keeps copies."""
        states = old.states
        old.states = [{name: t.clone() for name, t in state.items()} for state in states]
        for state, own in zip(states, self.states, strict=True):
            for name, tensor in state.items():
                tensor.copy_(own[name])
        self.states = states

    def _start(self, parameter: Tensor) -> dict[str, Tensor]:
        device = parameter.device if self._fused else torch.device("cpu")
        return {
            _STEP: torch.zeros((), dtype=torch.float32, device=device),
            _FIRST: torch.zeros_like(parameter, memory_format=torch.preserve_format).detach(),
            _SECOND: torch.zeros_like(parameter, memory_format=torch.preserve_format).detach(),
        }


def _copy(tensor: Tensor, given: Tensor, name: str) -> None:
    if tensor.shape != given.shape:
        raise RuntimeError(f"{name} has shape {tuple(given.shape)}, not {tuple(tensor.shape)}")
    tensor.copy_(given)
