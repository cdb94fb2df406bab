"""The continuous Bernoulli decoder: a density on grey levels from one logit per pixel."""

from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.likelihood import Likelihood, PixelDistribution

__all__ = ["ContinuousBernoulli", "ContinuousBernoulliPixels"]

_SMALL = 0.25
"""|logit| below which the mean is taken from its series, whose next term is below 1e-16."""

_SERIES = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
"""B_2n / (2n)!, the odd coefficients of coth(l/2)/2 - 1/l."""

_TINY = 1e-30


@final
@dataclass(frozen=True)
class ContinuousBernoulliPixels(PixelDistribution):
    """A continuous Bernoulli per pixel (Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845).

    With the logit l of lambda, ``p(x) = C(lambda) lambda^x (1 - lambda)^(1 - x)`` is the
    exponential family ``exp(l x - A(l))`` on [0, 1], whose log-partition function
    ``A(l) = ln((e^l - 1)/l)`` has the mean as its derivative. So ``-ln p`` is the binary
    cross-entropy less ``ln C = ln(l / tanh(l/2))``.

    Attributes:
        logits: The decoder's output, l = ln(lambda / (1 - lambda)).
    """

    logits: Float[Tensor, "batch channel height width"]

    @property
    def mean(self) -> Float[Tensor, "batch channel height width"]:
        """``½ + coth(l/2)/2 - 1/l``, which is not lambda."""
        return _mean(self.logits)

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``Σ A(l) - l x``, and SE without a gradient."""
        with torch.no_grad():
            mean = self.mean
            error = (images - mean).square().flatten(1).sum(1)
        partition: Tensor = _LogPartition.apply(self.logits, mean)
        return (partition - self.logits * images).flatten(1).sum(1), error


@final
class ContinuousBernoulli(Likelihood):
    """Grey pixels in [0, 1]; the decoder's output is the logits of lambda."""

    def forward(
        self, output: Float[Tensor, "batch channel height width"]
    ) -> ContinuousBernoulliPixels:
        """CB(sigmoid(output)), independently for every pixel."""
        return ContinuousBernoulliPixels(output)


@final
class _LogPartition(torch.autograd.Function):
    """A(l), and the mean as its derivative: one through the quotient would cancel near l = 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, mean: Tensor) -> Tensor:  # noqa: ARG004
        """``max(l, 0) + ln((1 - e^-|l|) / |l|)``."""
        size = logits.abs().clamp(min=_TINY)
        return logits.clamp(min=0.0) + torch.log(-torch.expm1(-size) / size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (mean,) = ctx.saved_tensors
        return gradient * mean, None


def _mean(logits: Tensor) -> Tensor:
    near = logits.abs() < _SMALL
    far = torch.where(near, 1.0, logits)
    quotient = 0.5 / torch.tanh(0.5 * far) - 1 / far
    return 0.5 + torch.where(near, _series(logits), quotient)


def _series(logits: Tensor) -> Tensor:
    """The polynomial by Horner's rule."""
    square = logits.square()
    total = torch.full_like(logits, _SERIES[-1])
    for coefficient in reversed(_SERIES[:-1]):
        total = total * square + coefficient
    return total * logits
