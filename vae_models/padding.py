"""Where the tensors of a trial stand in the wider ones of a pack with idle latents."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from vae_models.config import ModelConfig
from vae_models.posterior_heads import head_of

__all__ = ["Padding"]


@final
class Padding:
    """Between tensors of a model with M latents and those of the same model with more.

    The first M latents are the trial's. What belongs to the others is zero.

    Args:
        config: The model's settings.
        width: Latents of the wider model, at least M.
    """

    def __init__(self, config: ModelConfig, width: int) -> None:
        own, wide = head_of(config), head_of(replace(config, latent_dim=width))
        latents = torch.arange(config.latent_dim)
        # Entries of a triangle run row by row, so those of a smaller one come first.
        below = torch.arange(own.covariance_outputs - config.latent_dim)
        covariance = torch.cat([latents, width + below])
        self.width = width
        self._places: Mapping[tuple[int, int], Tensor] = {
            (own.outputs, wide.outputs): torch.cat([latents, width + covariance]),
            (own.covariance_outputs, wide.covariance_outputs): covariance,
            (config.latent_dim, width): latents,
        }

    def embed(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """The tensor within zeros of a shape; itself if that is its own."""
        for axis, (size, wide) in enumerate(zip(tensor.shape, shape, strict=True)):
            if size != wide:
                places = self._places[size, wide].to(tensor.device)
                zeros = tensor.new_zeros((*tensor.shape[:axis], wide, *tensor.shape[axis + 1 :]))
                tensor = zeros.index_copy(axis, places, tensor)
        return tensor

    def extract(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """The part of the tensor that `embed` put there."""
        for axis, (size, wide) in enumerate(zip(shape, tensor.shape, strict=True)):
            if size != wide:
                places = self._places[size, wide].to(tensor.device)
                tensor = tensor.index_select(axis, places)
        return tensor
