"""The Bernoulli decoder: binary pixels."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.likelihood import Likelihood, PixelDistribution

__all__ = ["Bernoulli", "BernoulliPixels"]


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

    def costs(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """``-Σ x ln p + (1 - x) ln(1 - p)``, and SE without its gradient, which nothing uses."""
        nll, error, _ = _Costs.apply(self.logits, images)
        return nll, error


@final
class _Costs(torch.autograd.Function):
    """``Σ ln(1 + e^l) - x l`` and ``Σ (p - x)²``, which share the p of the first one's gradient.

    The logarithm is ``max(l, 0) + ln(1 + e^-|l|)``. With `log1p` in place of the second `log` it
    would take twice as long and be no more exact once the pixels are summed (see the tests).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        difference = torch.sigmoid(logits) - images
        softplus = torch.exp(-logits.abs()).add_(1.0).log_().add_(logits.clamp(min=0.0))
        nll = softplus.sub_(images * logits).flatten(1).sum(1)
        return nll, difference.square().flatten(1).sum(1), difference

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401, ARG004
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(output[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (difference,) = ctx.saved_tensors
        return difference * gradient.view(-1, *(1,) * (difference.ndim - 1)), None


@final
class Bernoulli(Likelihood):
    """Binary pixels; the decoder's output is their logits."""

    levels: ClassVar[int | None] = 2

    def forward(self, output: Float[Tensor, "batch channel height width"]) -> BernoulliPixels:
        """Bernoulli(sigmoid(output)), independently for every pixel."""
        return BernoulliPixels(output)
