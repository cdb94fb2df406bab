"""The exact likelihood of linear models with Gaussian pixels and a normal prior."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.gaussian_likelihoods import GaussianPixels
from vae_models.inference import inference
from vae_models.linear_networks import LinearDecoder
from vae_models.prior_distributions import NormalPrior
from vae_models.vae import VAE

__all__ = ["LinearMarginal", "exact_nll_nats", "linear_marginal"]

_NUMBERS = 2**22  # of pixels that are held in float64 at a time


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMarginal:
    """p(x) = N(mean, U diag(variances) U' + sigma² I), in float64 on the CPU.

    Attributes:
        mean: Of the pixels.
        directions: U, orthonormal columns.
        variances: What the latents add along each of them, squared model units.
        sigma2: The decoder's variance, squared model units.
    """

    mean: Float[Tensor, " pixel"]
    directions: Float[Tensor, "pixel direction"]
    variances: Float[Tensor, " direction"]
    sigma2: float

    def log_prob(self, pixels: Float[Tensor, "example pixel"]) -> Float[Tensor, " example"]:
        """The log-density ln p(x) in nats, along the directions and across them."""
        centred = pixels.double() - self.mean
        along = centred @ self.directions
        across = (centred - along @ self.directions.T).square().sum(1) / self.sigma2
        total = self.variances + self.sigma2
        others = len(self.mean) - len(total)
        volume = total.log().sum() + others * math.log(self.sigma2)
        volume += len(self.mean) * math.log(2 * math.pi)
        return -0.5 * (volume + across + (along.square() / total).sum(1))


def exact_nll_nats(
    model: VAE, images: Float[Tensor, "example channel height width"]
) -> float | None:
    """E_x[-ln p(x)] without any bound, nats per example; None where p(x) is no normal density.

    Args:
        model: The model, on any device.
        images: In model units, on any device.
    """
    marginal = linear_marginal(model)
    if marginal is None:
        return None
    flat = images.flatten(1)
    batches = torch.split(flat, max(1, _NUMBERS // flat.shape[1]))
    return -torch.cat([marginal.log_prob(batch.cpu()) for batch in batches]).mean().item()


def linear_marginal(model: VAE) -> LinearMarginal | None:
    """p(x) of a model; None where it is not normal in closed form.

    With z ~ N(m, S) and x = W z + d + noise of variance sigma²: N(W m + d, W S W' + sigma² I),
    whatever the encoder. The decoder must be affine, its output the mean of Gaussian pixels with
    one sigma, the prior one normal.
    """
    with inference(model):
        prior, decoder = model.prior_distribution(), model.decoder
        if not (isinstance(decoder, LinearDecoder) and isinstance(prior, NormalPrior)):
            return None
        weight, bias = _float64(decoder.output.weight), _float64(decoder.output.bias)
        sigma2 = _sigma2_of_affine_mean(model)
        if sigma2 is None:
            return None
        mean = _per_latent(prior.mean, model.latent_dim)
        scale = torch.exp(_per_latent(prior.log_scale, model.latent_dim))
        directions, lengths, _ = torch.linalg.svd(weight * scale, full_matrices=False)
        return LinearMarginal(
            mean=weight @ mean + bias,
            directions=directions,
            variances=lengths.square(),
            sigma2=sigma2,
        )


def _sigma2_of_affine_mean(model: VAE) -> float | None:
    """The variance of Gaussian pixels around the decoder's output itself; else None."""
    like = next(model.decoder.parameters())
    output = model.decoder(torch.ones((1, model.latent_dim), device=like.device))
    pixels = model.likelihood(output)
    if isinstance(pixels, GaussianPixels) and torch.equal(pixels.mean, output):
        return model.likelihood.sigma2
    return None


def _per_latent(value: Tensor | float, latent_dim: int) -> Float[Tensor, " latent"]:
    if isinstance(value, Tensor):
        return _float64(value).expand(latent_dim)
    return torch.full((latent_dim,), value, dtype=torch.float64)


def _float64(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()
