"""The variational autoencoder: an encoder, a decoder and a likelihood, with the prior N(0, I)."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae_models.config import ModelConfig
from vae_models.conv_networks import ConvDecoder, ConvEncoder
from vae_models.likelihoods import Likelihood, PixelDistribution, likelihood_of
from vae_models.linear_networks import LinearDecoder, LinearEncoder
from vae_models.mlp_networks import MlpDecoder, MlpEncoder
from vae_models.networks import Decoder, Encoder, ImageShape
from vae_models.objective import Weights
from vae_models.posterior import DiagonalNormal

__all__ = ["VAE", "Terms", "build_vae", "training_loss"]


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """The unweighted terms of one pass, one number per example.

    Attributes:
        rate_nats: KL(q(z|x) ‖ p(z)), summed over the latents.
        distortion_nll_nats: -ln p(x|z) at one z ~ q(z|x), summed over the pixels.
        distortion_se: Squared error of E[x|z] at the same z; may come without a gradient.
    """

    rate_nats: Float[Tensor, " batch"]
    distortion_nll_nats: Float[Tensor, " batch"]
    distortion_se: Float[Tensor, " batch"]


@final
class VAE(nn.Module):
    """q(z|x), p(x|z) and the prior p(z) = N(0, I). Beta is no part of it, but of the objective."""

    def __init__(
        self, encoder: Encoder, decoder: Decoder, likelihood: Likelihood, latent_dim: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.latent_dim = latent_dim

    def encode(self, images: Float[Tensor, "batch channel height width"]) -> DiagonalNormal:
        """The posterior q(z|x) of every image, in model units."""
        posterior: DiagonalNormal = self.encoder(images)
        return posterior

    def decode(self, latents: Float[Tensor, "batch latent"]) -> PixelDistribution:
        """The distribution p(x|z) of every row of latents."""
        distribution: PixelDistribution = self.likelihood(self.decoder(latents))
        return distribution

    def forward(
        self,
        images: Float[Tensor, "batch channel height width"],
        noise: Float[Tensor, "batch latent"],
    ) -> Terms:
        """The unweighted terms of the objective, with z drawn from q(z|x) by `noise`."""
        posterior = self.encode(images)
        nll, error = self.decode(posterior.sample(noise)).costs(images)
        return Terms(posterior.kl_nats().sum(1), nll, error)


def training_loss(terms: Terms, weights: Weights, annealing_weight: float) -> Float[Tensor, ""]:
    """``mean over the batch of (w_nll NLL + annealing w_rate KL)``; in training units."""
    rate_weight = annealing_weight * weights.rate
    return weights.nll * terms.distortion_nll_nats.mean() + rate_weight * terms.rate_nats.mean()


def build_vae(config: ModelConfig, image_shape: ImageShape, seed: int) -> VAE:
    """A fresh VAE on the CPU, whose weights depend on the arguments only.

    The global random state is neither read nor moved.

    Args:
        config: Family, latents and likelihood.
        image_shape: Channels, height, width.
        seed: Of the weights.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # torch.manual_seed would reseed the accelerators too, which fork_rng does not restore.
        torch.default_generator.manual_seed(seed)
        encoder, decoder = _networks(config, image_shape)
        return VAE(encoder, decoder, likelihood_of(config), config.latent_dim)


def _networks(config: ModelConfig, image_shape: ImageShape) -> tuple[Encoder, Decoder]:
    latents = config.latent_dim
    match config.family:
        case "linear":
            return LinearEncoder(image_shape, latents), LinearDecoder(image_shape, latents)
        case "mlp":
            encoder = MlpEncoder(image_shape, config.hidden, latents)
            return encoder, MlpDecoder(image_shape, config.hidden, latents)
        case "conv":
            return ConvEncoder(image_shape, latents), ConvDecoder(image_shape, latents)
    raise AssertionError(f"unreachable: {config.family!r} passed validation")
