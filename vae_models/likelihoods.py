"""Likelihoods p(x|z): each turns a decoder's output into a distribution over images."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from vae_models.config import LEAST_LOG_SIGMA, ModelConfig
from vae_models.soft_clamp import clamped_below, inverse_of_clamped_below

__all__ = [
    "Bernoulli",
    "BernoulliPixels",
    "Gaussian",
    "GaussianLearned",
    "GaussianPixels",
    "Likelihood",
    "PixelDistribution",
    "likelihood_of",
]


class PixelDistribution(ABC):
    """A distribution over images with independent pixels, one per example of a batch."""

    @property
    @abstractmethod
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """E[x|z], in model units."""

    @abstractmethod
    def log_prob(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """The log-density ln p(x|z), summed over the pixels, in nats."""

    def squared_error(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """‖x - E[x|z]‖², summed over the pixels, in squared model units."""
        return mse_loss(self.mean, images, reduction="none").flatten(1).sum(1)

    @abstractmethod
    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``(-log_prob, squared_error)`` in one pass; only the first need carry a gradient."""


@final
@dataclass(frozen=True)
class GaussianPixels(PixelDistribution):
    """N(mean, sigma² I), with one sigma for all pixels.

    Attributes:
        output: The decoder's output, which is the mean.
        log_sigma: ln sigma.
        precision: 1/sigma², in inverse squared model units.
    """

    output: Float[Tensor, "batch channel height width"]
    log_sigma: Float[Tensor, ""] | float
    precision: Float[Tensor, ""] | float

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The decoder's output."""
        return self.output

    def log_prob(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """``-SE/(2 sigma²) - (N/2) ln(2 pi sigma²)``."""
        return -self.costs(images)[0]

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The squared error, and the NLL that is an affine function of it."""
        error = self.squared_error(images)
        pixels = self.output[0].numel()
        volume = pixels * (0.5 * math.log(2 * math.pi) + self.log_sigma)
        return (0.5 * self.precision) * error + volume, error


@final
@dataclass(frozen=True)
class BernoulliPixels(PixelDistribution):
    """A Bernoulli per pixel.

    Images between 0 and 1 are taken too, as is common practice; their ``log_prob`` is minus the
    binary cross-entropy, which is then no log-likelihood (its floor is the pixels' entropy).

    Attributes:
        logits: The decoder's output, ln(p / (1 - p)).
    """

    logits: Float[Tensor, "batch channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """The probability of a one."""
        return torch.sigmoid(self.logits)

    def log_prob(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, " batch"]:
        """``x ln p + (1 - x) ln(1 - p)``, summed over the pixels."""
        entropy = binary_cross_entropy_with_logits(self.logits, images, reduction="none")
        return -entropy.flatten(1).sum(1)

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The NLL, and the squared error without its gradient, which no objective uses."""
        with torch.no_grad():
            error = self.squared_error(images)
        return -self.log_prob(images), error


class Likelihood(nn.Module, ABC):
    """A module from a decoder's output to the distribution over images that it stands for."""

    @abstractmethod
    def forward(self, output: Float[Tensor, "batch channel height width"]) -> PixelDistribution:
        """The distribution p(x|z) that the output parametrises."""

    @property
    @abstractmethod
    def sigma2(self) -> float | None:
        """The decoder's variance in squared model units; None where there is none."""


@final
class Gaussian(Likelihood):
    """A Gaussian decoder with a fixed variance.

    Args:
        sigma2: The variance, in squared model units.
    """

    def __init__(self, sigma2: float) -> None:
        super().__init__()
        self._sigma2 = sigma2

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> GaussianPixels:
        """N(output, sigma² I)."""
        return GaussianPixels(output, 0.5 * math.log(self._sigma2), 1 / self._sigma2)

    @property
    def sigma2(self) -> float:
        """The fixed variance."""
        return self._sigma2


@final
class GaussianLearned(Likelihood):
    """A Gaussian decoder with one learned variance (Rybkin et al. 2021, arXiv:2006.13202).

    ln sigma is softly clamped from below: where the latents can hold everything and beta is at
    most one, the likelihood has no maximum.

    Args:
        sigma2: The variance that training starts from, in squared model units.
    """

    def __init__(self, sigma2: float) -> None:
        super().__init__()
        start = inverse_of_clamped_below(0.5 * math.log(sigma2), LEAST_LOG_SIGMA)
        self.raw_log_sigma = nn.Parameter(torch.tensor(start))

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> GaussianPixels:
        """N(output, sigma² I), with a gradient to sigma."""
        log_sigma = clamped_below(self.raw_log_sigma, LEAST_LOG_SIGMA)
        return GaussianPixels(output, log_sigma, torch.exp(-2 * log_sigma))

    @property
    def sigma2(self) -> float:
        """The variance learned so far; reads it back from the device."""
        log_sigma = clamped_below(self.raw_log_sigma.detach(), LEAST_LOG_SIGMA)
        return math.exp(2 * log_sigma.item())


@final
class Bernoulli(Likelihood):
    """Binary pixels; the decoder's output is their logits."""

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> BernoulliPixels:
        """Bernoulli(sigmoid(output)), independently for every pixel."""
        return BernoulliPixels(output)

    @property
    def sigma2(self) -> None:
        """None: a Bernoulli has no variance of its own."""
        return None


def likelihood_of(config: ModelConfig) -> Likelihood:
    """The likelihood that a model's settings name."""
    match config.likelihood:
        case "gaussian":
            return Gaussian(config.sigma2)
        case "gaussian_learned":
            return GaussianLearned(config.sigma2)
        case "bernoulli":
            return Bernoulli()
    raise AssertionError(f"unreachable: {config.likelihood!r} passed validation")
