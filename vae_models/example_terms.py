"""The terms of every example of a split, at beta = 1 and with z ~ q(z|x)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vae_models.inference import inference
from vae_models.prior_distributions import PriorDistribution
from vae_models.vae import VAE

__all__ = ["ExampleTerms", "evenly_spaced", "example_terms"]


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
    generator = torch.Generator().manual_seed(seed)
    # Drawn for all examples at once, on the CPU: the same for every batch size and device.
    noise = torch.randn((samples, len(images), model.latent_dim), generator=generator)
    batches = []
    with inference(model) as device:
        prior = model.prior_distribution()
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch, draws = images[part].to(device), noise[:, part].to(device)
            batches.append(_batch_terms(model, prior, batch, draws))
    return _joined(batches)


def evenly_spaced(
    images: Shaped[Tensor, "n channel height width"], count: int
) -> Shaped[Tensor, "m channel height width"]:
    """At most `count` of the images, evenly spaced: a fair share also of a split sorted by class."""
    if count >= len(images):
        return images
    places = torch.arange(count, device=images.device) * len(images) // count
    return images.index_select(0, places)


def _batch_terms(
    model: VAE,
    prior: PriorDistribution,
    images: Float[Tensor, "batch channel height width"],
    noise: Float[Tensor, "draw batch latent"],
) -> ExampleTerms:
    posterior = model.encode(images)
    draws = [posterior.sample(one) for one in noise]
    costs = [model.decode(latents).costs(images) for latents in draws]
    rated = slice(1) if prior.closed_form else slice(None)
    pairs = list(zip(draws[rated], noise[rated], strict=True))
    return ExampleTerms(
        means=posterior.mean.cpu().double(),
        rate_nats=_mean([prior.kl_nats(posterior, latents, one) for latents, one in pairs]),
        latent_kl_nats=_mean([prior.latent_kl_nats(posterior, latents) for latents, _ in pairs]),
        nll_nats=_mean([nll for nll, _ in costs]),
        squared_error=_mean([error for _, error in costs]),
    )


def _mean(draws: Sequence[Tensor]) -> Tensor:
    return torch.stack([draw.cpu().double() for draw in draws]).mean(0)


def _joined(batches: Sequence[ExampleTerms]) -> ExampleTerms:
    return ExampleTerms(
        **{
            field.name: torch.cat([getattr(batch, field.name) for batch in batches])
            for field in fields(ExampleTerms)
        }
    )
