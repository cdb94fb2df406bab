"""Dataclasses of tensors, for functions that are mapped over the slots of a pack."""

from dataclasses import fields
from typing import Any

from torch.utils import _pytree as pytree

from vae_models.mixture_distribution import MixturePrior
from vae_models.posterior import DiagonalNormal, FullNormal
from vae_models.prior_distributions import NormalPrior
from vae_models.regulariser import PriorDraws
from vae_models.step_losses import StepResult
from vae_models.terms import Code

__all__ = ["register_records"]

_RECORDS = (Code, DiagonalNormal, FullNormal, NormalPrior, MixturePrior, PriorDraws, StepResult)


def register_records() -> None:
    """Lets `torch.vmap` take and return the records of a training pass; again does nothing."""
    for kind in _RECORDS:
        if kind not in pytree.SUPPORTED_NODES:
            _register(kind)


def _register(kind: type[Any]) -> None:
    names = [field.name for field in fields(kind)]

    def flatten(record: Any) -> tuple[list[Any], None]:  # noqa: ANN401
        return [getattr(record, name) for name in names], None

    def unflatten(values: Any, _: None) -> Any:  # noqa: ANN401
        record = object.__new__(kind)
        for name, value in zip(names, values, strict=True):
            object.__setattr__(record, name, value)
        return record

    pytree.register_pytree_node(kind, flatten, unflatten)
