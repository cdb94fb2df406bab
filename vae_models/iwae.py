"""The importance-weighted bound on ln p(x), at any number of samples in bounded memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.inference import inference
from vae_models.posterior import Posterior
from vae_models.prior_distributions import PriorDistribution
from vae_models.splits import generator_of
from vae_models.vae import VAE

__all__ = ["IwaeBound", "iwae_bound"]

_OUTPUTS = 2**18  # numbers that the decoder gives at a time on a CPU: they stay in its cache
_OUTPUTS_ELSEWHERE = 2**23


@final
@dataclass(frozen=True, kw_only=True)
class IwaeBound:
    """IWAE_k, a lower bound on E_x ln p(x).

    Attributes:
        nats: The mean over the examples, nats per example.
        stderr_nats: Its standard error over the examples; the draws' noise is part of it.
        samples: k, the draws per example.
        examples: n.
    """

    nats: float
    stderr_nats: float
    samples: int
    examples: int


def iwae_bound(
    model: VAE,
    images: Float[Tensor, "example channel height width"],
    *,
    samples: int,
    chunk: int | None = None,
    seed: int = 0,
) -> IwaeBound:
    """IWAE_k = E_x E ln [1/k Σ_s p(x|z_s) p(z_s) / q(z_s|x)], with z_s ~ q(z|x).

    It rises with k in expectation, from the ELBO at k = 1, and never exceeds E_x ln p(x). Burda
    et al. 2015, https://arxiv.org/abs/1509.00519; k = 5000 is the usual choice for evaluation.

    Args:
        model: The model, on any device.
        images: Two or more, in model units, on any device.
        samples: k, the draws per example.
        chunk: How many latents are decoded at a time; the bound does not depend on it beyond
            rounding. What the memory and the caches of the device suggest if None.
        seed: Of the draws.
    """
    with inference(model) as device:
        rows = chunk or _rows(model, images, device)
        block = max(1, rows // samples)
        generator = generator_of(seed, "iwae")
        prior = model.prior_distribution()
        bounds = torch.cat(
            [
                _bounds(model, prior, part.to(device), samples, rows, generator)
                for part in torch.split(images, block)
            ]
        )
    spread = bounds.std().item() / math.sqrt(len(bounds))
    return IwaeBound(
        nats=bounds.mean().item(), stderr_nats=spread, samples=samples, examples=len(images)
    )


def _bounds(
    model: VAE,
    prior: PriorDistribution,
    images: Float[Tensor, "batch channel height width"],
    samples: int,
    rows: int,
    generator: np.random.Generator,
) -> Float[Tensor, " batch"]:
    """The bound of every image, by a running logsumexp over chunks of draws."""
    posterior = model.encode(images)
    total = torch.full((len(images),), -math.inf, dtype=torch.float64)
    for draws in _chunks(samples, rows):
        # One stream in the order of examples, then draws; a block has one example if its draws
        # come in several chunks. So the numbers are the same for every chunk size.
        shape = (len(images), draws, model.latent_dim)
        noise = torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
        weights = _log_weights(model, prior, images, posterior, noise.transpose(0, 1))
        total = torch.logaddexp(total, torch.logsumexp(weights.cpu().double(), 0))
    return total - math.log(samples)


def _chunks(samples: int, rows: int) -> Iterator[int]:
    for start in range(0, samples, rows):
        yield min(rows, samples - start)


def _log_weights(
    model: VAE,
    prior: PriorDistribution,
    images: Float[Tensor, "batch channel height width"],
    posterior: Posterior,
    noise: Float[Tensor, "draw batch latent"],
) -> Float[Tensor, "draw batch"]:
    """The log-weight ln [p(x|z) p(z) / q(z|x)] of every draw of every image, in nats."""
    noise = noise.to(images.device)
    latents = posterior.sample(noise)
    log_ratio = prior.log_prob(latents) - posterior.draw_log_prob(latents, noise)
    pixels = model.decode(latents.flatten(0, 1))
    log_likelihood = pixels.log_prob(images.repeat(len(noise), 1, 1, 1))
    return log_likelihood.view_as(log_ratio) + log_ratio


def _rows(model: VAE, images: Tensor, device: torch.device) -> int:
    outputs = images[0].numel() * model.likelihood.outputs_per_pixel
    return max(1, (_OUTPUTS if device.type == "cpu" else _OUTPUTS_ELSEWHERE) // outputs)
