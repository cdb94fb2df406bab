"""Reconstruction losses as people write them: no likelihoods, but equivalent to one.

Each comes with the distribution that it amounts to, so that its NLL is in nats like any other.
"""

import math
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from vae_models.bernoulli_likelihood import BernoulliPixels
from vae_models.gaussian_likelihoods import GaussianPixels
from vae_models.likelihood import Likelihood
from vae_models.likelihood_kinds import AMOUNTS_TO, MSE_SIGMA2

__all__ = ["CrossEntropy", "SquaredError"]


@final
class SquaredError(Likelihood):
    """``mse``: the squared error without the half.

    Its gradient is that of N(mean, I/2), whose NLL is ``SE + (N/2) ln pi``.

    Args:
        activation: From the decoder's output to the mean.
    """

    probabilistic: ClassVar[bool] = False
    amounts_to: ClassVar[str | None] = AMOUNTS_TO["mse"]

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> GaussianPixels:
        """N(activation(output), I/2)."""
        return GaussianPixels(self.activation(output), 0.5 * math.log(MSE_SIGMA2), 1 / MSE_SIGMA2)

    @property
    def sigma2(self) -> float:
        """The variance that the missing half amounts to."""
        return MSE_SIGMA2


@final
class CrossEntropy(Likelihood):
    """``bce``: the binary cross-entropy of any values between 0 and 1.

    On zeros and ones it is the NLL of a Bernoulli; on grey levels it is no NLL at all, and its
    floor is the entropy of the pixels, not zero.
    """

    levels: ClassVar[int | None] = 2
    probabilistic: ClassVar[bool] = False
    amounts_to: ClassVar[str | None] = AMOUNTS_TO["bce"]

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> BernoulliPixels:
        """Bernoulli(sigmoid(output)), whose ``-log_prob`` is the cross-entropy."""
        return BernoulliPixels(output)
