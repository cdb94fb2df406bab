"""Losses as people write them: what `convert` says of each, by formula and by gradient.

Every loss of the table "which losses are the same loss" is written out with torch alone. A small
nonlinear VAE in float64 must have a gradient parallel to that of the canonical loss at the t or
beta that `convert` names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.distributions import Beta, ContinuousBernoulli, Distribution, Laplace, Normal

from vae_models.conversion import convert
from vae_models.objective import REDUCTIONS

N, M, B = 12, 3, 7
b, SIGMA2, A = 0.3, 0.2, 2.5
SIZES: dict[str, Any] = {"pixels": N, "latents": M}
PARALLEL = 1 - 1e-12


class SmallVae(nn.Module):
    """Tanh networks with a Gaussian encoder; the decoder gives `width` numbers per pixel.

    Args:
        width: Numbers per pixel.
    """

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.width = width
        self.encoder = nn.Sequential(nn.Linear(N, 9), nn.Tanh(), nn.Linear(9, 2 * M)).double()
        self.decoder = nn.Sequential(nn.Linear(M, 9), nn.Tanh(), nn.Linear(9, N * width)).double()
        self.log_scale = nn.Parameter(torch.tensor(-0.4, dtype=torch.float64))
        self.noise = torch.randn(B, M, dtype=torch.float64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's output ``[B, width, N]``, and the KL of every latent ``[B, M]``."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * self.noise
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp())
        return self.decoder(z).view(B, self.width, N), kl

    def gradient(self, loss: Tensor) -> Tensor:
        """Of a loss with respect to all parameters, as one vector."""
        parts = torch.autograd.grad(loss, list(self.parameters()), allow_unused=True)
        return torch.cat([part.flatten() for part in parts if part is not None])


def _images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand((B, N), generator=generator, dtype=torch.float64)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


@dataclass(frozen=True, kw_only=True)
class SquaredErrorLoss:
    """A row of the Gaussian table.

    Attributes:
        written: The loss from the reconstruction, the images and the KL of every latent.
        t: Its level, by the table.
        said: What `convert` is told of it.
    """

    written: Callable[[Tensor, Tensor, Tensor], Tensor]
    t: float
    said: dict[str, Any]


def _log_prob(distribution: Distribution, x: Tensor) -> Tensor:
    return distribution.log_prob(x)


def _mean_kl(kl: Tensor) -> Tensor:
    return kl.sum(dim=1).mean()


GAUSSIAN = {
    "SE/(2σ²) + (N/2) ln 2πσ² + bK": SquaredErrorLoss(
        written=lambda out, x, kl: (
            _log_prob(Normal(out, SIGMA2**0.5), x).sum(dim=1).mean().neg() + b * _mean_kl(kl)
        ),
        t=b * SIGMA2,
        said={"reduction": "sum", "sigma2": SIGMA2},
    ),
    "SE/(2σ²) + bK with the half said twice": SquaredErrorLoss(
        written=lambda out, x, kl: (
            F.mse_loss(out, x, reduction="sum") / B / (2 * SIGMA2) + b * _mean_kl(kl)
        ),
        t=b * SIGMA2,
        said={"reduction": "sum", "sigma2": SIGMA2, "half": True},
    ),
    "SE/2 + bK": SquaredErrorLoss(
        written=lambda out, x, kl: 0.5 * ((out - x) ** 2).sum(dim=1).mean() + b * _mean_kl(kl),
        t=b,
        said={"reduction": "sum", "half": True},
    ),
    "SE + bK": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x, reduction="sum") / B + b * _mean_kl(kl),
        t=b / 2,
        said={"reduction": "sum"},
    ),
    "SE + bK, both summed over the batch": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x, reduction="sum") + b * kl.sum(),
        t=b / 2,
        said={"reduction": "batch_sum"},
    ),
    "mse mean over pixels + bK": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x) + b * _mean_kl(kl),
        t=b * N / 2,
        said={"reduction": "pixel_mean"},
    ),
    "½ mse mean + bK": SquaredErrorLoss(
        written=lambda out, x, kl: 0.5 * F.mse_loss(out, x) + b * _mean_kl(kl),
        t=b * N,
        said={"reduction": "pixel_mean", "half": True},
    ),
    "data scaled x' = ax, SE' + bK": SquaredErrorLoss(
        written=lambda out, x, kl: (
            F.mse_loss(A * out, A * x, reduction="sum") / B + b * _mean_kl(kl)
        ),
        t=b / (2 * A**2),
        said={"reduction": "sum", "data_scale": A},
    ),
    "mse mean + bK/M": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x) + b * kl.mean(),
        t=b * N / (2 * M),
        said={"reduction": "mean"},
    ),
    "½ mse mean + bK/M": SquaredErrorLoss(
        written=lambda out, x, kl: 0.5 * F.mse_loss(out, x) + b * kl.mean(),
        t=b * N / M,
        said={"reduction": "mean", "half": True},
    ),
    "SE + bK/M": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x, reduction="sum") / B + b * kl.mean(),
        t=b / (2 * M),
        said={"reduction": "latent_mean"},
    ),
    "mse mean, K summed over the batch": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x) + b * kl.sum(),
        t=b * N * B / 2,
        said={"reduction": "kl_batch_sum", "batch": B},
    ),
    "SE summed over the batch, K averaged": SquaredErrorLoss(
        written=lambda out, x, kl: F.mse_loss(out, x, reduction="sum") + b * _mean_kl(kl),
        t=b / (2 * B),
        said={"reduction": "nll_batch_sum", "batch": B},
    ),
}


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("likelihood", ["gaussian", "mse"])
def test_the_level_of_a_loss_is_that_of_the_table(name: str, likelihood: str) -> None:
    row = GAUSSIAN[name]
    conversion = convert(**row.said, **SIZES, weight=b, likelihood=likelihood)
    assert conversion.t == pytest.approx(row.t, rel=1e-12)


@pytest.mark.parametrize("name", GAUSSIAN)
def test_its_gradient_is_parallel_to_that_of_half_the_squared_error_plus_t_kl(name: str) -> None:
    row, x, vae = GAUSSIAN[name], _images(), SmallVae()
    t = convert(**row.said, **SIZES, weight=b).t
    assert t is not None
    out, kl = vae(x)
    written = vae.gradient(row.written(out.squeeze(1), x, kl))
    out, kl = vae(x)
    se = ((out.squeeze(1) - x) ** 2).sum(dim=1)
    assert _cosine(written, vae.gradient((se / 2 + t * kl.sum(dim=1)).mean())) >= PARALLEL


def test_every_reduction_is_among_the_losses() -> None:
    assert {row.said["reduction"] for row in GAUSSIAN.values()} == set(REDUCTIONS)
    assert {said["reduction"] for _, _, said in OTHERS.values()} == set(REDUCTIONS)


def test_at_another_level_the_gradient_points_elsewhere() -> None:
    x, vae = _images(), SmallVae()
    gradients = []
    for t in (b, 1.01 * b):
        out, kl = vae(x)
        se = ((out.squeeze(1) - x) ** 2).sum(dim=1)
        gradients.append(vae.gradient((se / 2 + t * kl.sum(dim=1)).mean()))
    assert _cosine(*gradients) < 1 - 1e-9


Error = Callable[[str], Tensor]
"""The error term by torch's name of its reduction over batch and pixels, "sum" or "mean"."""


def _reduced(distribution: Distribution, x: Tensor) -> Error:
    nll = -_log_prob(distribution, x)
    return lambda reduction: nll.sum() if reduction == "sum" else nll.mean()


def _bernoulli(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    binary = (x > 0.5).double()
    return lambda r: F.binary_cross_entropy_with_logits(out[:, 0], binary, reduction=r)


def _bce(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return lambda r: F.binary_cross_entropy(out[:, 0].sigmoid(), x, reduction=r)


def _continuous(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return _reduced(ContinuousBernoulli(logits=out[:, 0], validate_args=False), x)


def _categorical(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return lambda r: F.cross_entropy(out, (255 * x).round().long(), reduction=r)


def _beta(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return _reduced(Beta(F.softplus(out[:, 0]), F.softplus(out[:, 1])), x)


def _laplace(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return _reduced(Laplace(out[:, 0], vae.log_scale.exp()), x)


def _learned(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return _reduced(Normal(out[:, 0], vae.log_scale.exp()), x)


def _per_pixel(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    return _reduced(Normal(out[:, 0], out[:, 1].exp()), x)


def _optimal(vae: SmallVae, out: Tensor, x: Tensor) -> Error:
    sigma = F.mse_loss(out[:, 0], x).detach().sqrt()
    return _reduced(Normal(out[:, 0], sigma), x)


LIKELIHOODS = {
    "bernoulli": (1, _bernoulli),
    "bce": (1, _bce),
    "continuous_bernoulli": (1, _continuous),
    "categorical256": (256, _categorical),
    "beta": (2, _beta),
    "laplace": (1, _laplace),
    "gaussian_learned": (1, _learned),
    "gaussian_pixel": (2, _per_pixel),
    "gaussian_optimal": (1, _optimal),
}

Written = Callable[[Error, Tensor], Tensor]

OTHERS: dict[str, tuple[Written, float, dict[str, Any]]] = {
    "sum + bK": (lambda e, kl: e("sum") / B + b * _mean_kl(kl), b, {"reduction": "sum"}),
    "mean over pixels + bK": (
        lambda e, kl: e("mean") + b * _mean_kl(kl),
        b * N,
        {"reduction": "pixel_mean"},
    ),
    "mean + bK/M": (lambda e, kl: e("mean") + b * kl.mean(), b * N / M, {"reduction": "mean"}),
    "sum + bK/M": (
        lambda e, kl: e("sum") / B + b * kl.mean(),
        b / M,
        {"reduction": "latent_mean"},
    ),
    "both summed over the batch": (
        lambda e, kl: e("sum") + b * kl.sum(),
        b,
        {"reduction": "batch_sum"},
    ),
    "mean, K summed over the batch": (
        lambda e, kl: e("mean") + b * kl.sum(),
        b * N * B,
        {"reduction": "kl_batch_sum", "batch": B},
    ),
    "sum over the batch, K averaged": (
        lambda e, kl: e("sum") + b * _mean_kl(kl),
        b / B,
        {"reduction": "nll_batch_sum", "batch": B},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("likelihood", [*LIKELIHOODS, "discretized_logistic"])
def test_without_a_fixed_variance_a_loss_has_the_beta_of_the_table_and_no_level(
    likelihood: str, name: str
) -> None:
    _, beta, said = OTHERS[name]
    conversion = convert(**said, **SIZES, weight=b, likelihood=likelihood)
    assert conversion.beta == pytest.approx(beta, rel=1e-12)
    assert conversion.t is None


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_its_gradient_is_parallel_to_that_of_the_nll_plus_beta_kl(
    likelihood: str, name: str
) -> None:
    width, error = LIKELIHOODS[likelihood]
    written, _, said = OTHERS[name]
    x, vae = _images(), SmallVae(width)
    out, kl = vae(x)
    gradient = vae.gradient(written(error(vae, out, x), kl))
    beta = convert(**said, **SIZES, weight=b, likelihood=likelihood).beta
    out, kl = vae(x)
    canonical = error(vae, out, x)("sum") / B + beta * _mean_kl(kl)
    assert _cosine(gradient, vae.gradient(canonical)) >= PARALLEL


@pytest.mark.parametrize("source", GAUSSIAN)
@pytest.mark.parametrize("mode", REDUCTIONS)
def test_a_converted_weight_pasted_into_the_other_loss_gives_the_same_gradient(
    source: str, mode: str
) -> None:
    """The error term stays as it was written: same half, same variance, same scale."""
    said = {**GAUSSIAN[source].said, "batch": B}
    conversion = convert(**said, **SIZES, weight=b)
    scale = said.get("data_scale", 1.0)
    factor = 1 / (2 * SIGMA2) if "sigma2" in said else 0.5 if said.get("half") else 1.0
    x, vae = _images(), SmallVae()
    out, kl = vae(x)
    original = vae.gradient(GAUSSIAN[source].written(out.squeeze(1), x, kl))
    out, kl = vae(x)
    pasted = _in_mode(mode, conversion.weight_in(mode), factor * scale**2, out.squeeze(1), x, kl)
    assert _cosine(original, vae.gradient(pasted)) >= PARALLEL


def _in_mode(
    mode: str, weight: float, factor: float, out: Tensor, x: Tensor, kl: Tensor
) -> Tensor:
    """The loss of a mode as torch's reductions say it, the error times a factor."""
    error = {
        "sum": F.mse_loss(out, x, reduction="sum") / B,
        "latent_mean": F.mse_loss(out, x, reduction="sum") / B,
        "mean": F.mse_loss(out, x),
        "pixel_mean": F.mse_loss(out, x),
        "kl_batch_sum": F.mse_loss(out, x),
        "batch_sum": F.mse_loss(out, x, reduction="sum"),
        "nll_batch_sum": F.mse_loss(out, x, reduction="sum"),
    }[mode]
    over_latents = {"mean": kl.mean(), "latent_mean": kl.mean()}
    over_batch = {"batch_sum": kl.sum(), "kl_batch_sum": kl.sum()}
    return factor * error + weight * {**over_latents, **over_batch}.get(mode, _mean_kl(kl))
