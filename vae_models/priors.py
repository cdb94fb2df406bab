"""Priors p(z): modules that return the distribution over the latents that they stand for."""

from vae_models.config import ModelConfig
from vae_models.mixture_prior import GaussianMixturePrior
from vae_models.networks import ImageShape
from vae_models.normal_priors import LearnedNormalPrior, ScaledNormalPrior, StandardNormalPrior
from vae_models.prior import Encode, Prior
from vae_models.vamp_prior import VampPrior

__all__ = [
    "Encode",
    "GaussianMixturePrior",
    "LearnedNormalPrior",
    "Prior",
    "ScaledNormalPrior",
    "StandardNormalPrior",
    "VampPrior",
    "prior_of",
]


def prior_of(config: ModelConfig, image_shape: ImageShape) -> Prior:
    """The prior that a model's settings name; its parameters come from the global random state.

    Args:
        config: The model's settings.
        image_shape: Channels, height, width of the data.
    """
    match config.prior, config.prior_scale, config.prior_components:
        case "standard", _, _:
            return StandardNormalPrior()
        case "scaled", float(scale), _:
            return ScaledNormalPrior(scale)
        case "learned", _, _:
            return LearnedNormalPrior(config.latent_dim)
        case "mixture", _, int(components):
            return GaussianMixturePrior(components, config.latent_dim)
        case "vamp", _, int(components):
            return VampPrior(components, image_shape)
    raise AssertionError(f"unreachable: {config.prior!r} passed validation")
