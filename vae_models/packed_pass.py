"""The steps of many trials as one: stacked parameters, and one call of the network for all."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from vae_models.records import register_records
from vae_models.regulariser import PriorDraws
from vae_models.slot import Slot
from vae_models.step_losses import StepLoss, StepResult
from vae_models.terms import Code
from vae_models.training_pass import PackInputs, PackResult, Rates, TrainingPass
from vae_models.vae import VAE

__all__ = ["PackedPass"]

_FEWEST_ROWS = 2
"""A lone row would take other kernels, and so round otherwise, than the rows of a larger pack."""

_Record = TypeVar("_Record")


@final
class PackedPass(TrainingPass):
    """Makes the steps of slots whose models have one architecture and width.

    The parameters of all models lie in stacks with a leading axis of rows, of which those of each
    slot's model are views: so the optimiser, checkpoints and evaluation see an ordinary model.
    The networks are mapped over the rows (matrix products become batched ones, convolutions
    grouped ones). The losses are mapped over the slots that share a formula.

    On a CPU the numbers of a slot are the same, bit for bit, in whatever company and row it
    trains. They differ from those of `LonePass` by rounding.
    """

    def __init__(self) -> None:
        register_records()
        self._rows: list[Slot] = []
        self._stacks: dict[str, Tensor] = {}

    def take(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """The slots; those that were here before keep their rows if the others fit in.

        A slot fits in the row of one that has left if both have the same structure: its numbers
        are then copied to where those of the other were. Else all is stacked anew.
        """
        leaving = [row for row, slot in enumerate(self._rows) if slot not in slots]
        entering = [slot for slot in slots if slot not in self._rows]
        places = _places([self._rows[row].structure for row in leaving], entering)
        if places is None:
            self._rows = list(slots)
            self._build()
        else:
            for place, slot in zip(places, entering, strict=True):
                self._replace(leaving[place], slot)
        return tuple(self._rows)

    def _build(self) -> None:
        self.layout += 1
        self._stack()
        self._losses = [
            _SharedLoss(rows=rows, slots=[self._rows[row] for row in rows])
            for rows in _grouped([slot.structure for slot in self._rows])
        ]

    @torch.no_grad()
    def _replace(self, row: int, slot: Slot) -> None:
        """Lets a slot train in the memory of the one that had its row."""
        old = self._rows[row]
        slot.move_into(old)
        self._rows[row] = slot
        coder = _Coder(slot.model)
        self._named[row] = dict(coder.named_parameters())
        buffers = dict(coder.named_buffers())
        for name, stacked in self._constants.items():
            stacked[row].copy_(buffers[name])
        for loss in self._losses:
            if row in loss.rows:
                loss.replace(loss.rows.index(row), slot)

    def step(self, inputs: PackInputs, rates: Rates) -> PackResult:
        """One step of every slot."""
        self._observe(inputs.images)
        code = self._code(inputs)
        results = [loss(code, inputs) for loss in self._losses]
        for stack in self._stacks.values():
            stack.grad = None
        torch.stack([result.loss.sum() for result in results]).sum().backward()  # type: ignore[no-untyped-call]
        self._optimise(rates)
        if len(results) == 1:
            return PackResult(results[0].terms, results[0].moments)
        order = torch.cat([loss.index for loss in self._losses]).argsort()
        return PackResult(
            torch.cat([result.terms for result in results])[order],
            torch.cat([result.moments for result in results])[order],
        )

    def _stack(self) -> None:
        """Gathers the parameters of all slots in stacks that the slots' models then look into."""
        filled = [*self._rows, *self._rows[:1] * (_FEWEST_ROWS - len(self._rows))]
        coders = [_Coder(slot.model) for slot in filled]
        named = [dict(coder.named_parameters()) for coder in coders]
        self._coder = coders[0]
        self._stacks = {
            name: torch.stack([parameters[name].detach() for parameters in named]).requires_grad_()
            for name in named[0]
        }
        self._constants = {
            name: torch.stack([dict(coder.named_buffers())[name] for coder in coders])
            for name, _ in coders[0].named_buffers()
            if not name.startswith("encoder.")
        }
        self._named = named[: len(self._rows)]
        for row, parameters in enumerate(self._named):
            for name, parameter in parameters.items():
                parameter.data = self._stacks[name].data[row]

    def _observe(self, images: Tensor) -> None:
        for row, slot in enumerate(self._rows):
            slot.model.prior.observe(images[row])

    def _code(self, inputs: PackInputs) -> Code:
        """What the networks make of the images, a row for each slot."""
        missing = _FEWEST_ROWS - len(self._rows)
        images, noise = inputs.images, inputs.noise
        if missing > 0:
            images = torch.cat([images, images[:1].expand(missing, *images.shape[1:])])
            noise = torch.cat([noise, noise[:1].expand(missing, *noise.shape[1:])])
        tensors = {**self._stacks, **self._constants}
        code: Code = vmap(self._code_of_row)(tensors, images, noise)
        return _rows_of(code, slice(len(self._rows))) if missing > 0 else code

    def _code_of_row(self, tensors: Mapping[str, Tensor], images: Tensor, noise: Tensor) -> Code:
        code: Code = functional_call(self._coder, dict(tensors), (images, noise))
        return code

    def _optimise(self, rates: Rates) -> None:
        """Every slot's own optimiser, on its rows of the gradients."""
        for row, (slot, parameters) in enumerate(zip(self._rows, self._named, strict=True)):
            for name, parameter in parameters.items():
                gradient = self._stacks[name].grad
                parameter.grad = None if gradient is None else gradient[row]
            slot.optimiser.step(rates[row])
            slot.loss.zero_grad(set_to_none=True)


@final
class _Coder(nn.Module):
    """The part of a model that knows no likelihood, called as a module."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior = model.encoder, model.decoder, model.prior
        self.in_use: Tensor
        self.register_buffer("in_use", model.in_use, persistent=False)
        self._model = [model]  # in a list, it is no submodule

    def forward(self, images: Tensor, noise: Tensor) -> Code:
        model = self._model[0]
        own, model.in_use = model.in_use, self.in_use
        try:
            return model.code(images, noise)
        finally:
            model.in_use = own


@final
@dataclass(kw_only=True)
class _SharedLoss:
    """The losses of slots that are one formula with other numbers in it.

    Attributes:
        rows: Of the slots in the pack.
        slots: Those.
    """

    rows: list[int]
    slots: list[Slot]

    def __post_init__(self) -> None:
        self._template: StepLoss = self.slots[0].loss
        state = self._template.state_dict()
        self.index = torch.tensor(self.rows, device=next(self.slots[0].model.parameters()).device)
        losses = [slot.loss for slot in self.slots]
        self._parameters = _named_by_slot([dict(loss.named_parameters()) for loss in losses])
        buffers = _named_by_slot([dict(loss.named_buffers()) for loss in losses])
        self._learned = {name: values for name, values in buffers.items() if name in state}
        self._constants = {
            name: torch.stack(values) for name, values in buffers.items() if name not in state
        }

    def replace(self, place: int, slot: Slot) -> None:
        """Another slot of the same structure, in the memory of the one before it."""
        self.slots[place] = slot
        self._template = self.slots[0].loss
        for name, parameter in slot.loss.named_parameters():
            self._parameters[name][place] = parameter
        for name, buffer in slot.loss.named_buffers():
            if name in self._learned:
                self._learned[name][place] = buffer
            else:
                self._constants[name][place].copy_(buffer)

    def __call__(self, code: Code, inputs: PackInputs) -> StepResult:
        """The results of a step, a row for each of the slots."""
        parameters = {name: torch.stack(values) for name, values in self._parameters.items()}
        learned = {name: torch.stack(values) for name, values in self._learned.items()}
        tensors = {**parameters, **learned, **self._constants}
        noise, choice = inputs.draws or (None, None)
        given: tuple[Any, ...]
        given = (code, inputs.images, inputs.annealing, noise, choice)
        if len(self.rows) < len(inputs.images):
            given = tuple(None if part is None else _rows_of(part, self.index) for part in given)
        places = (0, *(None if part is None else 0 for part in given))
        result: StepResult = vmap(self._of_slot, in_dims=places)(tensors, *given)
        with torch.no_grad():
            for name, values in self._learned.items():
                for own, value in zip(values, learned[name], strict=True):
                    own.copy_(value)
        return result

    def _of_slot(
        self,
        tensors: Mapping[str, Tensor],
        code: Code,
        images: Tensor,
        annealing: Tensor,
        noise: Tensor | None,
        choice: Tensor | None,
    ) -> StepResult:
        draws = None if noise is None or choice is None else PriorDraws(noise, choice)
        if not self._template.regulariser.needs_prior_draws:
            draws = None
        result: StepResult = functional_call(
            self._template, dict(tensors), (code, images, annealing, draws)
        )
        return result


def _rows_of(record: _Record, rows: slice | Int[Tensor, " row"]) -> _Record:
    """A record's rows, in all its tensors."""
    chosen: _Record = pytree.tree_map(lambda tensor: tensor[rows], record)
    return chosen


def _places(structures: Sequence[Hashable], entering: Sequence[Slot]) -> list[int] | None:
    """For each entering slot a place of its structure, if each takes one and none is left."""
    free = list(enumerate(structures))
    places = []
    for slot in entering:
        fitting = next((pair for pair in free if pair[1] == slot.structure), None)
        if fitting is None:
            return None
        free.remove(fitting)
        places.append(fitting[0])
    return None if free else places


def _grouped(structures: Sequence[Hashable]) -> list[list[int]]:
    """The rows of each structure, in the order in which the structures appear."""
    groups: dict[Hashable, list[int]] = {}
    for row, structure in enumerate(structures):
        groups.setdefault(structure, []).append(row)
    return list(groups.values())


def _named_by_slot(named: Sequence[Mapping[str, Tensor]]) -> dict[str, list[Tensor]]:
    """The tensors of all slots under each name."""
    return {name: [tensors[name] for tensors in named] for name in named[0]}
