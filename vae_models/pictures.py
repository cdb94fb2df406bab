"""Pictures of what a model learned: reconstructions, prior samples, latent traversals.

For the eye only: they show E[x|z] at posterior means, which no point on the plane may use.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.data import DataSet
from vae_models.inference import inference
from vae_models.prior_distributions import PriorDistribution
from vae_models.vae import VAE

__all__ = ["Traversals", "reconstruct", "sample_prior", "traverse"]

_REACH = 3.0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Traversals:
    """What each of a few latents does to one image.

    Attributes:
        latents: Which ones, that of the largest KL first.
        images: E[x|z] along each of them, in [0, 1] on the CPU.
    """

    latents: tuple[int, ...]
    images: Float[Tensor, "latent step channel height width"]


def reconstruct(model: VAE, data: DataSet, count: int = 10) -> tuple[Tensor, Tensor] | None:
    """The first held-out images and E[x|z] at their posterior means.

    Args:
        model: The model, on any device.
        data: The data set.
        count: How many; fewer if the split is smaller.

    Returns:
        Originals and reconstructions, each ``[count, channel, height, width]`` in [0, 1] on the
        CPU; None for data that is no image.
    """
    if data.peak is None:
        return None
    images = data.heldout_images()[:count]
    with inference(model) as device:
        means = model.decode(model.encode(images.to(device)).mean).mean
    return _picture(images, data.peak), _picture(means, data.peak)


def sample_prior(model: VAE, data: DataSet, count: int = 10, *, seed: int = 0) -> Tensor | None:
    """E[x|z] at draws z ~ p(z) from the prior.

    Args:
        model: The model, on any device.
        data: The data set that it was trained on.
        count: How many.
        seed: Of the draws, which are the same for every model of as many latents.

    Returns:
        ``[count, channel, height, width]`` in [0, 1] on the CPU; None for data that is no image.
    """
    if data.peak is None:
        return None
    with inference(model) as device:
        latents = _prior_draws(model.prior_distribution(), model.latent_dim, count, seed, device)
        means = model.decode(latents).mean
    return _picture(means, data.peak)


def traverse(
    model: VAE,
    data: DataSet,
    latent_kl_nats: Sequence[float],
    *,
    count: int = 8,
    steps: int = 9,
) -> Traversals | None:
    """E[x|z] while one latent at a time leaves the posterior mean of the first held-out image.

    z_j goes from 3 standard deviations of the prior below its posterior mean to 3 above, in even
    steps; the other latents stay. So the middle picture is the image's reconstruction.

    Args:
        model: The model, on any device.
        data: The data set.
        latent_kl_nats: The KL of every latent; those of the largest KL are shown.
        count: How many latents; fewer if the model has fewer.
        steps: How many values of each.

    Returns:
        The pictures; None for data that is no image.
    """
    if data.peak is None:
        return None
    order = sorted(range(len(latent_kl_nats)), key=lambda latent: -latent_kl_nats[latent])
    chosen = tuple(order[:count])
    image = data.heldout_images()[:1]
    with inference(model) as device:
        mean = model.encode(image.to(device)).mean[0]
        reach = _REACH * torch.as_tensor(model.prior_distribution().scale).expand_as(mean)
        rows = []
        for latent in chosen:
            latents = mean.repeat(steps, 1)
            latents[:, latent] += reach[latent] * torch.linspace(-1, 1, steps, device=device)
            rows.append(model.decode(latents).mean)
    return Traversals(latents=chosen, images=_picture(torch.stack(rows), data.peak))


def _prior_draws(
    prior: PriorDistribution, latent_dim: int, count: int, seed: int, device: torch.device
) -> Float[Tensor, "draw latent"]:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, latent_dim), generator=generator)
    choice = torch.rand(count, generator=generator)
    return prior.sample(noise.to(device), choice.to(device))


def _picture(images: Tensor, peak: float) -> Tensor:
    return (images / peak).clamp(0, 1).cpu().clone()
