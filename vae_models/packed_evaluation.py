"""The evaluation of several models of one shape as one program."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import pad

from vae_models.example_terms import ExampleTerms, batch_terms, draws_of, joined
from vae_models.inference import inference
from vae_models.vae import VAE

__all__ = ["packed_example_terms"]


def packed_example_terms(
    models: Sequence[VAE],
    latents: Sequence[int],
    images: Float[Tensor, "example channel height width"],
    *,
    samples: int = 1,
    batch_size: int = 512,
    seed: int = 0,
) -> list[ExampleTerms]:
    """What `vae_models.example_terms.example_terms` says of each model, within rounding.

    Args:
        models: Models with networks, prior and likelihood of the same kinds and sizes.
        latents: Of each model, how many of its latents are in use: the first ones.
        images: In model units, on any device.
        samples: Draws of z per example.
        batch_size: Examples at a time, of every model.
        seed: Of the draws.
    """
    stacks, measured = _stacks(models), _Measured(models[0])
    noise = torch.stack(
        [
            pad(draws_of(own, len(images), samples, seed), (0, models[0].latent_dim - own))
            for own in latents
        ]
    )

    def of_row(tensors: Mapping[str, Tensor], batch: Tensor, draws: Tensor) -> tuple[Tensor, ...]:
        terms: tuple[Tensor, ...] = functional_call(measured, dict(tensors), (batch, draws))
        return terms

    parts = []
    with inference(models[0]) as device:
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch, draws = images[part].to(device), noise[:, :, part].to(device)
            parts.append(vmap(of_row, in_dims=(0, None, 0))(stacks, batch, draws))
    return [_of_row(parts, row, own) for row, own in enumerate(latents)]


def _of_row(parts: Sequence[tuple[Tensor, ...]], row: int, latents: int) -> ExampleTerms:
    """One model's terms, without what belongs to latents that are not in use."""
    terms = joined([tuple(tensor[row] for tensor in part) for part in parts])
    means, latent_kl = terms.means[:, :latents], terms.latent_kl_nats[:, :latents]
    return replace(terms, means=means, latent_kl_nats=latent_kl)


@final
class _Measured(nn.Module):
    """A model, called for the terms of a batch."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        return batch_terms(self.model, self.model.prior_distribution(), images, noise)


def _stacks(models: Sequence[VAE]) -> dict[str, Tensor]:
    """All parameters and buffers, stacked."""
    named = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
    return {
        f"model.{name}": torch.stack([tensors[name].detach() for tensors in named])
        for name in named[0]
    }
