"""The terms of every example of a split, at beta = 1 and with z ~ q(z|x)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vae_models.inference import inference
from vae_models.precision import float64
from vae_models.prior_distributions import PriorDistribution
from vae_models.vae import VAE

__all__ = [
    "ExampleTerms",
    "batch_terms",
    "draws_of",
    "evenly_spaced",
    "example_terms",
    "joined",
]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ExampleTerms:
    """What every example costs, in float64 on the CPU.

    Attributes:
        means: E_q[z|x].
        rate_nats: KL(q(z|x) ‖ p(z)); its estimate, a mean over the draws, where the prior has no
            closed form.
        latent_kl_nats: KL(q(z_j|x) ‖ p(z_j)) between marginals, likewise.
        nll_nats: E_q[-ln p(x|z)], a mean over the draws, summed over the pixels.
        squared_error: E_q ‖x - E[x|z]‖², likewise.
    """

    means: Float[Tensor, "example latent"]
    rate_nats: Float[Tensor, " example"]
    latent_kl_nats: Float[Tensor, "example latent"]
    nll_nats: Float[Tensor, " example"]
    squared_error: Float[Tensor, " example"]


def example_terms(
    model: VAE,
    images: Float[Tensor, "example channel height width"],
    *,
    samples: int = 1,
    batch_size: int = 512,
    seed: int = 0,
) -> ExampleTerms:
    """The terms of every image.

    Args:
        model: The model, on any device.
        images: In model units, on any device.
        samples: Draws of z per example.
        batch_size: Examples at a time; the numbers do not depend on it beyond rounding.
        seed: Of the draws.
    """
    noise = draws_of(model.latent_dim, len(images), samples, seed)
    parts = []
    with inference(model) as device:
        prior = model.prior_distribution()
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch, draws = images[part].to(device), noise[:, part].to(device)
            parts.append(batch_terms(model, prior, batch, draws))
    return joined(parts)


def draws_of(
    latents: int, examples: int, samples: int, seed: int
) -> Float[Tensor, "draw example latent"]:
    """The noise of an evaluation, the same for every batch size and device.

    It is drawn for all examples at once, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((samples, examples, latents), generator=generator)


def evenly_spaced(
    images: Shaped[Tensor, "n channel height width"], count: int
) -> Shaped[Tensor, "m channel height width"]:
    """At most `count` of the images, evenly spaced: a fair share also of a split sorted by class."""
    if count >= len(images):
        return images
    places = torch.arange(count, device=images.device) * len(images) // count
    return images.index_select(0, places)


def batch_terms(
    model: VAE,
    prior: PriorDistribution,
    images: Float[Tensor, "batch channel height width"],
    noise: Float[Tensor, "draw batch latent"],
) -> tuple[Tensor, ...]:
    """The fields of `ExampleTerms` for a batch, in their order, on the device of the model."""
    posterior = model.encode(images)
    draws = [posterior.sample(one) for one in noise]
    costs = [model.decode(latents).costs(images) for latents in draws]
    rated = slice(1) if prior.closed_form else slice(None)
    pairs = list(zip(draws[rated], noise[rated], strict=True))
    return (
        posterior.mean,
        _mean([prior.kl_nats(posterior, latents, one) for latents, one in pairs]),
        _mean([prior.latent_kl_nats(posterior, latents) for latents, _ in pairs]),
        _mean([nll for nll, _ in costs]),
        _mean([error for _, error in costs]),
    )


def _mean(draws: Sequence[Tensor]) -> Tensor:
    """The mean in float64, unless there is but one draw."""
    return draws[0] if len(draws) == 1 else float64(torch.stack(list(draws))).mean(0)


def joined(parts: Sequence[tuple[Tensor, ...]]) -> ExampleTerms:
    """The terms of all batches; the host waits for the device here."""
    names = [field.name for field in fields(ExampleTerms)]
    columns = zip(*parts, strict=True)
    return ExampleTerms(
        **{
            name: torch.cat(list(column)).cpu().double()
            for name, column in zip(names, columns, strict=True)
        }
    )
