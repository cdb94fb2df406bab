"""The posteriors of many examples as one, for what compares every example with every other."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.posterior import Posterior
from vae_models.precision import float64
from vae_models.vae import VAE

__all__ = ["encode_all", "sliced", "widened"]

_BATCH = 512


def encode_all(model: VAE, images: Float[Tensor, "example channel height width"]) -> Posterior:
    """q(z|x) of every image as one posterior, on the model's device; within `inference`."""
    device = next(model.parameters()).device
    batches = [model.encode(batch.to(device)) for batch in torch.split(images, _BATCH)]
    return _changed(batches[0], lambda name: torch.cat([getattr(q, name) for q in batches]))


def sliced(posterior: Posterior, size: int) -> list[Posterior]:
    """The posterior in parts of `size` examples; the last one may be shorter."""
    parts = [slice(start, start + size) for start in range(0, len(posterior.mean), size)]
    return [_part(posterior, part) for part in parts]


def widened(posterior: Posterior) -> Posterior:
    """The posterior in float64, on its device or, where that has none (MPS), on the CPU."""
    return _changed(posterior, lambda name: float64(getattr(posterior, name)))


def _part(posterior: Posterior, part: slice) -> Posterior:
    return _changed(posterior, lambda name: getattr(posterior, name)[part])


def _changed(posterior: Posterior, tensor_of: Callable[[str], Tensor]) -> Posterior:
    """A posterior of the same kind with other parameters: every kind is a dataclass of tensors."""
    names = [field.name for field in fields(cast("Any", posterior)) if field.name != "in_use"]
    other = replace(cast("Any", posterior), **{name: tensor_of(name) for name in names})
    return cast("Posterior", other)
