"""The variational autoencoder: an encoder, a decoder, a likelihood and a prior."""

from collections.abc import Callable
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
from vae_models.posterior import Posterior
from vae_models.posterior_heads import head_of
from vae_models.prior_distributions import PriorDistribution
from vae_models.priors import Prior, prior_of
from vae_models.resnet_networks import ResnetDecoder, ResnetEncoder
from vae_models.terms import Code, Terms

__all__ = ["VAE", "build_vae", "terms_of"]


@final
class VAE(nn.Module):
    """q(z|x), p(x|z) and p(z). Beta is no part of it, but of the objective.

    Attributes:
        in_bfloat16: Whether the matrix products of the networks are computed in bfloat16; weights
            and all else stay in float32.
        in_use: In a pack, 1 for a latent of the trial and 0 for an idle one; None for none idle.
    """

    in_use: Float[Tensor, " latent"] | None

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        likelihood: Likelihood,
        prior: Prior,
        latent_dim: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.latent_dim = latent_dim
        self.in_bfloat16 = False
        self.register_buffer("in_use", None, persistent=False)

    def encode(self, images: Float[Tensor, "batch channel height width"]) -> Posterior:
        """The posterior q(z|x) of every image, in model units."""
        posterior: Posterior = self.encoder.head(self._through(self.encoder.outputs, images))
        return posterior if self.in_use is None else posterior.using(self.in_use)

    def decode(self, latents: Float[Tensor, "batch latent"]) -> PixelDistribution:
        """The distribution p(x|z) of every row of latents."""
        distribution: PixelDistribution = self.likelihood(self._through(self.decoder, latents))
        return distribution

    def prior_distribution(self) -> PriorDistribution:
        """p(z) as the parameters are now."""
        distribution: PriorDistribution = self.prior(self.encode)
        return distribution if self.in_use is None else distribution.using(self.in_use)

    def code(
        self,
        images: Float[Tensor, "batch channel height width"],
        noise: Float[Tensor, "batch latent"],
    ) -> Code:
        """A training pass up to the decoder's output, with z drawn from q(z|x) by `noise`."""
        posterior, prior = self.encode(images), self.prior_distribution()
        latents = posterior.sample(noise)
        rate = prior.kl_nats(posterior, latents, noise)
        return Code(posterior, prior, latents, rate, self._through(self.decoder, latents))

    def forward(
        self,
        images: Float[Tensor, "batch channel height width"],
        noise: Float[Tensor, "batch latent"],
    ) -> Terms:
        """The unweighted terms of a training pass, with z drawn from q(z|x) by `noise`."""
        self.prior.observe(images)
        return terms_of(self.code(images, noise), self.likelihood, images)

    def _through(self, network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """A network's output in the type of its inputs, whatever its products are computed in."""
        if not self.in_bfloat16:
            return network(inputs)
        with torch.autocast(inputs.device.type, torch.bfloat16):
            return network(inputs).to(inputs.dtype)


def terms_of(
    code: Code, likelihood: Likelihood, images: Float[Tensor, "batch channel height width"]
) -> Terms:
    """The terms of a training pass, of whose images the likelihood may learn."""
    nll, error = likelihood.observe(code.output, images).costs(images)
    return Terms(code.rate_nats, nll, error, code.posterior, code.latents, code.prior)


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
        likelihood = likelihood_of(config)
        encoder, decoder = _networks(config, image_shape, likelihood.outputs_per_pixel)
        prior = prior_of(config, image_shape)
        return VAE(encoder, decoder, likelihood, prior, config.latent_dim)


def _networks(
    config: ModelConfig, image_shape: ImageShape, outputs_per_pixel: int
) -> tuple[Encoder, Decoder]:
    latents, head = config.latent_dim, head_of(config)
    output_shape = (image_shape[0] * outputs_per_pixel, *image_shape[1:])
    match config.family:
        case "linear":
            return LinearEncoder(image_shape, head), LinearDecoder(output_shape, latents)
        case "mlp":
            encoder = MlpEncoder(image_shape, config.hidden, head)
            return encoder, MlpDecoder(output_shape, config.hidden, latents)
        case "conv":
            return ConvEncoder(image_shape, head), ConvDecoder(output_shape, latents)
        case "resnet":
            return ResnetEncoder(image_shape, head), ResnetDecoder(output_shape, latents)
    raise AssertionError(f"unreachable: {config.family!r} passed validation")
