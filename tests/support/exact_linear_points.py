"""Rate and distortion of linear VAEs without sampling, and optima in any rotation of the latents.

Means over N(0, I) and over Gaussian data are exact here: both distributions are replaced by a few
points with the same first and second moments, and the terms of a linear VAE are quadratic.
"""

import math

import torch
from torch import Tensor

from optimal_linear_vae import optimal_linear_vae
from spectra import GOLDEN
from vae_models.config import ModelConfig
from vae_models.linear_networks import LinearDecoder, LinearEncoder
from vae_models.terms import Terms
from vae_models.vae import VAE, build_vae

SHAPE = (1, 1, len(GOLDEN))


def closed_form(t: float, latents: int) -> tuple[float, float]:
    """(R, D) at the optimum for the golden spectrum."""
    active = [e for e in GOLDEN[:latents] if e > t]
    rate = sum(0.5 * math.log(e / t) for e in active)
    return rate, len(active) * t + sum(GOLDEN[len(active) :])


def exact_terms(vae: VAE) -> list[Terms]:
    """Terms whose joint mean is that over N(0, diag GOLDEN) and over the draws of z."""
    images = _moment_points(torch.tensor(GOLDEN, dtype=torch.float64)).view(-1, *SHAPE)
    noises = _moment_points(torch.ones(vae.latent_dim, dtype=torch.float64))
    return [vae(images, noise.expand(len(images), -1)) for noise in noises]


def exact_point(vae: VAE) -> tuple[float, float]:
    """(R, D) of a linear VAE over N(0, diag GOLDEN)."""
    terms = exact_terms(vae)
    rate = torch.stack([term.rate_nats for term in terms]).mean().item()
    return rate, torch.stack([term.distortion_se for term in terms]).mean().item()


def optimum(t: float, latents: int) -> VAE:
    """The optimum in float64, with sigma² = t and beta = 1."""
    return optimal_linear_vae(GOLDEN, beta=1.0, sigma2=t, latents=latents).double()


def rotated_optimum(t: float, rotation: Tensor, posterior: str) -> VAE:
    """The optimum whose latents are Q z: decoder W Qᵀ, encoder Q V, covariance Q S Qᵀ.

    A diagonal posterior takes the diagonal of that covariance.
    """
    latents = len(rotation)
    config = ModelConfig(family="linear", latent_dim=latents, posterior=posterior, sigma2=t)
    vae = build_vae(config, SHAPE, seed=0).double()
    plain_encoder, plain_decoder = linear_parts(optimum(t, latents))
    encoder, decoder = linear_parts(vae)
    with torch.no_grad():
        encoder.mean.weight.copy_(rotation @ plain_encoder.mean.weight)
        encoder.mean.bias.zero_()
        decoder.output.weight.copy_(plain_decoder.output.weight @ rotation.T)
        decoder.output.bias.zero_()
        covariance = rotation @ plain_encoder.raw_log_variance.exp().diag() @ rotation.T
        encoder.raw_log_variance.copy_(_raw_covariance(covariance, posterior))
    return vae


def linear_parts(vae: VAE) -> tuple[LinearEncoder, LinearDecoder]:
    """The networks of a linear VAE."""
    assert isinstance(vae.encoder, LinearEncoder)
    assert isinstance(vae.decoder, LinearDecoder)
    return vae.encoder, vae.decoder


def _raw_covariance(covariance: Tensor, posterior: str) -> Tensor:
    if posterior == "diagonal":
        return covariance.diagonal().log()
    factor = torch.linalg.cholesky(covariance)
    scales = factor.diagonal()
    rows, columns = torch.tril_indices(len(factor), len(factor), offset=-1)
    return torch.cat([2 * scales.log(), (factor / scales[:, None])[rows, columns]])


def _moment_points(variances: Tensor) -> Tensor:
    """2n equally likely points with mean 0 and covariance diag(variances)."""
    corners = torch.diag((len(variances) * variances).sqrt())
    return torch.cat([corners, -corners])
