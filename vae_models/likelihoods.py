"""Likelihoods p(x|z) by name: each turns a decoder's output into a distribution over images."""

from vae_models.bernoulli_likelihood import Bernoulli
from vae_models.beta_likelihood import Beta
from vae_models.categorical256 import Categorical256
from vae_models.config import ModelConfig
from vae_models.continuous_bernoulli import ContinuousBernoulli
from vae_models.discretized_logistic import DiscretizedLogistic
from vae_models.gaussian_likelihoods import Gaussian, GaussianLearned
from vae_models.gaussian_optimal import GaussianOptimal
from vae_models.gaussian_pixel import GaussianPixel
from vae_models.laplace_likelihood import Laplace
from vae_models.likelihood import Likelihood, PixelDistribution
from vae_models.output_activations import output_activation_of
from vae_models.reconstruction_losses import CrossEntropy, SquaredError

__all__ = ["Likelihood", "PixelDistribution", "likelihood_of"]


def likelihood_of(config: ModelConfig) -> Likelihood:
    """The likelihood that a model's settings name."""
    activation = output_activation_of(config.output_activation)
    match config.likelihood:
        case "gaussian":
            return Gaussian(config.sigma2, activation)
        case "gaussian_learned":
            return GaussianLearned(config.sigma2, activation)
        case "gaussian_optimal":
            return GaussianOptimal(activation)
        case "gaussian_pixel":
            return GaussianPixel(activation)
        case "laplace":
            return Laplace(activation)
        case "mse":
            return SquaredError(activation)
    return _of_unit_interval(config.likelihood)


def _of_unit_interval(name: str) -> Likelihood:
    match name:
        case "bernoulli":
            return Bernoulli()
        case "continuous_bernoulli":
            return ContinuousBernoulli()
        case "beta":
            return Beta()
        case "discretized_logistic":
            return DiscretizedLogistic()
        case "categorical256":
            return Categorical256()
        case "bce":
            return CrossEntropy()
    raise AssertionError(f"unreachable: {name!r} passed validation")
