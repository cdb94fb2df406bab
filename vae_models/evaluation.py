"""Evaluation on held-out data, at beta = 1 and with z ~ q(z|x): the numbers that are compared.

A rate goes with the distortion of z ~ q(z|x). The posterior mean reconstructs better, and would
put a model below the Shannon bound; it serves pictures only.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.data import DataSet
from vae_models.errors import DataError, NonFiniteError
from vae_models.likelihoods import Bernoulli
from vae_models.posterior import DiagonalNormal
from vae_models.vae import VAE

__all__ = ["ACTIVE_VARIANCE", "Evaluation", "evaluate", "reconstruct", "sample_prior"]

ACTIVE_VARIANCE = 0.01
"""A latent is active if Cov_x(E_q[z|x]) is above this (Burda et al. 2015, arXiv:1509.00519)."""


@final
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Held-out rate and distortion of a model, per example.

    Standard errors are over the held-out examples, for this model.

    Attributes:
        rate_nats: R = E_x KL(q(z|x) ‖ p(z)), summed over the latents.
        rate_stderr: Its standard error, nats.
        distortion_se: E_x E_q ‖x - E[x|z]‖², summed over the pixels, squared model units.
        distortion_se_stderr: Its standard error.
        distortion_nll_nats: E_x E_q[-ln p(x|z)], summed over the pixels, own likelihood.
        distortion_nll_stderr: Its standard error, nats.
        elbo_nats: The evidence lower bound, ``-(distortion_nll_nats + rate_nats)``.
        mse: ``distortion_se / N``.
        psnr_db: ``10 log10(peak² / mse)``; None for data without a peak.
        bits_per_dim: -ELBO in bits per pixel, where it bounds a probability of discrete data:
            a Bernoulli likelihood on binary data; else None.
        active_units: Latents whose `latent_mean_variance` is above `ACTIVE_VARIANCE`.
        collapsed: Whether no latent is active.
        sigma2: The decoder's variance, squared model units; None where there is none.
        latent_kl_nats: The rate of each latent.
        latent_mean_variance: Cov_x(E_q[z_j|x]) of each latent.
    """

    rate_nats: float
    rate_stderr: float
    distortion_se: float
    distortion_se_stderr: float
    distortion_nll_nats: float
    distortion_nll_stderr: float
    elbo_nats: float
    mse: float
    psnr_db: float | None
    bits_per_dim: float | None
    active_units: int
    collapsed: bool
    sigma2: float | None
    latent_kl_nats: tuple[float, ...]
    latent_mean_variance: tuple[float, ...]


@final
@dataclass(frozen=True)
class _PerExample:
    """Terms of the held-out examples, in float64 on the CPU."""

    means: Float[Tensor, "example latent"]
    kl_nats: Float[Tensor, "example latent"]
    nll_nats: Float[Tensor, " example"]
    squared_error: Float[Tensor, " example"]


def evaluate(
    model: VAE, data: DataSet, *, samples: int = 1, batch_size: int = 512, seed: int = 0
) -> Evaluation:
    """The held-out rate and distortion of a model.

    Args:
        model: The model, on any device.
        data: The data set whose held-out split to use, on any device.
        samples: Draws of z per example.
        batch_size: Examples at a time; the numbers do not depend on it beyond rounding.
        seed: Of the draws.

    Raises:
        DataError: The held-out split has fewer than two examples.
        NonFiniteError: A rate or distortion is NaN or infinite.
    """
    images = data.heldout_images()
    if len(images) < 2:
        raise DataError.unmet("n >= 2", "a held-out split to evaluate on", n=len(images))
    terms = _per_example(model, images, samples=samples, batch_size=batch_size, seed=seed)
    rate, rate_stderr = _mean_and_stderr(terms.kl_nats.sum(1))
    nll, nll_stderr = _mean_and_stderr(terms.nll_nats)
    error, error_stderr = _mean_and_stderr(terms.squared_error)
    if not all(map(math.isfinite, (rate, nll, error))):
        raise NonFiniteError.unmet(
            "held-out terms are finite",
            "a trained model",
            rate_nats=rate,
            distortion_nll_nats=nll,
            distortion_se=error,
        )
    variances = tuple(terms.means.var(0, correction=0).tolist())
    active = sum(variance > ACTIVE_VARIANCE for variance in variances)
    mse = error / data.pixels
    return Evaluation(
        rate_nats=rate,
        rate_stderr=rate_stderr,
        distortion_se=error,
        distortion_se_stderr=error_stderr,
        distortion_nll_nats=nll,
        distortion_nll_stderr=nll_stderr,
        elbo_nats=-(nll + rate),
        mse=mse,
        psnr_db=_psnr_db(mse, data.peak),
        bits_per_dim=_bits_per_dim(model, data, nll + rate),
        active_units=active,
        collapsed=active == 0,
        sigma2=model.likelihood.sigma2,
        latent_kl_nats=tuple(terms.kl_nats.mean(0).tolist()),
        latent_mean_variance=variances,
    )


def reconstruct(model: VAE, data: DataSet, count: int = 10) -> tuple[Tensor, Tensor] | None:
    """The first held-out images and E[x|z] at their posterior means, for pictures only.

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
    with _inference(model) as device:
        means = model.decode(model.encode(images.to(device)).mean).mean
    return _picture(images, data.peak), _picture(means, data.peak)


def sample_prior(model: VAE, data: DataSet, count: int = 10, *, seed: int = 0) -> Tensor | None:
    """E[x|z] at draws z ~ N(0, I) from the prior, for pictures only.

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
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn((count, model.latent_dim), generator=generator)
    with _inference(model) as device:
        means = model.decode(latents.to(device)).mean
    return _picture(means, data.peak)


def _per_example(
    model: VAE, images: Tensor, *, samples: int, batch_size: int, seed: int
) -> _PerExample:
    generator = torch.Generator().manual_seed(seed)
    # Drawn for all examples at once, on the CPU: the same for every batch size and device.
    noise = torch.randn((samples, len(images), model.latent_dim), generator=generator)
    batches = []
    with _inference(model) as device:
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch = images[part].to(device)
            posterior = model.encode(batch)
            nll, error = _mean_costs(model, batch, posterior, noise[:, part].to(device))
            batches.append((posterior.mean, posterior.kl_nats(), nll, error))
    means, kl, nll, error = (
        torch.cat([column.cpu().double() for column in columns])
        for columns in zip(*batches, strict=True)
    )
    return _PerExample(means=means, kl_nats=kl, nll_nats=nll, squared_error=error)


def _mean_costs(
    model: VAE,
    images: Tensor,
    posterior: DiagonalNormal,
    noise: Float[Tensor, "draw batch latent"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """NLL and squared error of each image, averaged over draws from its posterior."""
    draws = [model.decode(posterior.sample(draw)).costs(images) for draw in noise]
    nll = torch.stack([nll.cpu().double() for nll, _ in draws]).mean(0)
    error = torch.stack([error.cpu().double() for _, error in draws]).mean(0)
    return nll, error


@contextmanager
def _inference(model: VAE) -> Iterator[torch.device]:
    """No gradients, full float32 precision; yields the model's device."""
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # on by default; it keeps ten bits of the mantissa
    try:
        with torch.inference_mode():
            yield next(model.parameters()).device
    finally:
        torch.backends.cudnn.allow_tf32 = tf32


def _mean_and_stderr(values: Float[Tensor, " example"]) -> tuple[float, float]:
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def _bits_per_dim(model: VAE, data: DataSet, bound_nats: float) -> float | None:
    if not (isinstance(model.likelihood, Bernoulli) and data.binary):
        return None
    return bound_nats / (data.pixels * math.log(2))


def _psnr_db(mse: float, peak: float | None) -> float | None:
    if peak is None or mse <= 0:
        return None
    return 10 * math.log10(peak**2 / mse)


def _picture(images: Tensor, peak: float) -> Tensor:
    return (images / peak).clamp(0, 1).cpu().clone()
