"""GECO: a squared error to reach, in place of a beta."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.constants import hold_constant
from vae_models.regulariser import Loss, PriorDraws, Regulariser
from vae_models.terms import Terms

__all__ = ["Geco"]

# Decay and speed, tried on Gaussian data and on MNIST: a decay of 0.99 lags so far behind that the
# multiplier overshoots and swings, and at a third of the speed a training of 2,000 steps ends
# before it has settled.
_DECAY = 0.95
_STEP = 0.03
_LARGEST_FACTOR = 1e6


@final
class Geco(Regulariser):
    """``w_nll (annealing K + λ (SE - target_se))``: K in nats, SE per example, λ adapted.

    λ is a Lagrange multiplier: it grows while the squared error is above its target and shrinks
    while it is below, so that the training ends at the least rate that reaches the target, where
    ``λ = 1/(2t)`` (t = beta sigma², the level; canonical beta is ``1/(2 sigma² λ)``). After every
    step, with A the moving average of the batches' ``SE - target_se`` (decay 0.95, from the first
    batch's):

        λ ← λ exp(0.03 clip(A / target_se, -1, 1)),  within 1e±6 of its start, 1/(2 sigma²)

    so λ moves by at most 3% a step; at its start the loss is that of the VAE whose beta is one, up
    to a constant. A target that cannot be reached ends at the upper bound (an autoencoder, nearly),
    one that needs no code at the lower (collapse). Rezende & Viola 2018,
    https://arxiv.org/abs/1810.00597, algorithm 1, which leaves the speed open
    (and does not divide by the target).

    The weights are ``2 w_nll sigma² λ`` for the NLL, with λ before its update, and
    ``w_nll annealing`` for the rate.

    Args:
        nll_weight: w_nll, the overall scale of the loss.
        sigma2: sigma² in ``NLL = SE/(2 sigma²) + constant``, in squared model units.
        target_se: The squared error per example to reach, summed over the pixels.
    """

    multiplier: Float[Tensor, ""]
    average_excess: Float[Tensor, ""]
    started: Float[Tensor, ""]
    _scale: Float[Tensor, ""]
    _sigma2: Float[Tensor, ""]
    _target: Float[Tensor, ""]
    _start: Float[Tensor, ""]

    def __init__(self, nll_weight: float, *, sigma2: float, target_se: float) -> None:
        super().__init__()
        start = 1 / (2 * sigma2)
        hold_constant(self, "_scale", nll_weight)
        hold_constant(self, "_sigma2", sigma2)
        hold_constant(self, "_target", target_se)
        hold_constant(self, "_start", start)
        self.register_buffer("multiplier", torch.tensor(start))
        self.register_buffer("average_excess", torch.tensor(0.0))
        self.register_buffer("started", torch.tensor(0.0))

    def forward(
        self,
        terms: Terms,
        annealing: Float[Tensor, ""] | float,
        draws: PriorDraws | None = None,  # noqa: ARG002
    ) -> Loss:
        """The Lagrangian with the multiplier as it is, which is then updated."""
        multiplier = self.multiplier.clone()
        nll = terms.distortion_nll_nats.mean()
        excess = terms.distortion_se.detach().mean() - self._target
        # The error's gradient by way of the NLL, as the error itself may come without one.
        constraint = excess + 2 * self._sigma2 * (nll - nll.detach())
        value = self._scale * (annealing * terms.rate_nats.mean() + multiplier * constraint)
        self._update(excess)
        nll_weight = self._scale * 2 * self._sigma2 * multiplier
        return Loss(value, nll_weight, self._scale * annealing)

    @torch.no_grad()
    def _update(self, excess: Float[Tensor, ""]) -> None:
        share = 1 - _DECAY * self.started
        self.average_excess.add_(share * (excess - self.average_excess))
        self.started.fill_(1.0)
        relative = (self.average_excess / self._target).clamp(-1.0, 1.0)
        grown = self.multiplier * torch.exp(_STEP * relative)
        low, high = self._start / _LARGEST_FACTOR, self._start * _LARGEST_FACTOR
        self.multiplier.copy_(grown.clamp(low, high))
