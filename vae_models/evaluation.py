"""Evaluation on held-out data, at beta = 1 and with z ~ q(z|x): the numbers that are compared.

A rate goes with the distortion of z ~ q(z|x). The posterior mean reconstructs better, and would
put a model below the Shannon bound; it serves pictures only.
"""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.data import DataSet
from vae_models.errors import DataError, NonFiniteError
from vae_models.example_terms import ExampleTerms, example_terms
from vae_models.inference import inference
from vae_models.unit_activity import ACTIVE_VARIANCE
from vae_models.vae import VAE

__all__ = ["ACTIVE_VARIANCE", "Evaluation", "evaluate"]


@final
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Held-out rate and distortion of a model, per example.

    Standard errors are over the held-out examples, for this model: the standard deviation of the
    examples' own means over the draws, divided by the root of their number. The noise of the draws
    is a part of what makes examples differ, so they cover it, also where R is an estimate.

    Attributes:
        rate_nats: R = E_x KL(q(z|x) ‖ p(z)) over all latents; the mean of ln q(z|x) - ln p(z)
            over all draws where the prior has no closed form.
        rate_stderr: Its standard error, nats.
        distortion_se: E_x E_q ‖x - E[x|z]‖², summed over the pixels, squared model units.
        distortion_se_stderr: Its standard error.
        distortion_nll_nats: E_x E_q[-ln p(x|z)], summed over the pixels, own likelihood.
        distortion_nll_stderr: Its standard error, nats.
        elbo_nats: The evidence lower bound, ``-(distortion_nll_nats + rate_nats)``.
        mse: ``distortion_se / N``.
        psnr_db: ``10 log10(peak² / mse)``; None for data without a peak.
        bits_per_dim: -ELBO in bits per pixel, where it bounds a probability of discrete data:
            two levels on binary data, or 256 levels; else None.
        active_units: Latents whose `latent_mean_variance` is above `ACTIVE_VARIANCE`.
        collapsed: Whether no latent is active.
        sigma2: The decoder's variance, squared model units; None where there is none.
        latent_kl_nats: E_x KL(q(z_j|x) ‖ p(z_j)) of each latent, between marginals. They sum to R
            for a diagonal posterior and a normal prior.
        latent_kl_std_nats: Its standard deviation over the examples; where the prior has no
            closed form, this and the quantiles hold the noise of the draws too.
        latent_kl_q10_nats: Its quantile 0.1 over the examples.
        latent_kl_q90_nats: Its quantile 0.9 over the examples.
        latent_mean_variance: Cov_x(E_q[z_j|x]) of each latent, in units of the prior's variance.
    """

    rate_nats: float
    rate_stderr: float
    distortion_se: float
    distortion_se_stderr: float
    distortion_nll_nats: float
    distortion_nll_stderr: float
    elbo_nats: float
    mse: float
    psnr_db: float | None
    bits_per_dim: float | None
    active_units: int
    collapsed: bool
    sigma2: float | None
    latent_kl_nats: tuple[float, ...]
    latent_kl_std_nats: tuple[float, ...]
    latent_kl_q10_nats: tuple[float, ...]
    latent_kl_q90_nats: tuple[float, ...]
    latent_mean_variance: tuple[float, ...]


def evaluate(
    model: VAE,
    data: DataSet,
    *,
    samples: int = 1,
    batch_size: int = 512,
    seed: int = 0,
    terms: ExampleTerms | None = None,
) -> Evaluation:
    """The held-out rate and distortion of a model.

    Args:
        model: The model, on any device.
        data: The data set whose held-out split to use, on any device.
        samples: Draws of z per example.
        batch_size: Examples at a time; the numbers do not depend on it beyond rounding.
        seed: Of the draws.
        terms: Of the held-out examples, where they are known already.

    Raises:
        DataError: The held-out split has fewer than two examples.
        NonFiniteError: A rate, a distortion or a learned variance is NaN or infinite.
    """
    images = data.heldout_images()
    if len(images) < 2:
        raise DataError.unmet("n >= 2", "a held-out split to evaluate on", n=len(images))
    if terms is None:
        terms = example_terms(model, images, samples=samples, batch_size=batch_size, seed=seed)
    rate, rate_stderr = _mean_and_stderr(terms.rate_nats)
    nll, nll_stderr = _mean_and_stderr(terms.nll_nats)
    error, error_stderr = _mean_and_stderr(terms.squared_error)
    sigma2 = model.likelihood.sigma2
    _refuse_non_finite(rate_nats=rate, distortion_nll_nats=nll, distortion_se=error, sigma2=sigma2)
    mse = error / data.pixels
    return Evaluation(
        rate_nats=rate,
        rate_stderr=rate_stderr,
        distortion_se=error,
        distortion_se_stderr=error_stderr,
        distortion_nll_nats=nll,
        distortion_nll_stderr=nll_stderr,
        elbo_nats=-(nll + rate),
        mse=mse,
        psnr_db=_psnr_db(mse, data.peak),
        bits_per_dim=_bits_per_dim(model, data, nll + rate),
        sigma2=sigma2,
        **_latent_fields(terms, _prior_scale(model)),
    )


def _refuse_non_finite(**terms: float | None) -> None:
    given = {name: term for name, term in terms.items() if term is not None}
    if not all(map(math.isfinite, given.values())):
        raise NonFiniteError.unmet("held-out terms are finite", "a trained model", **given)


def _prior_scale(model: VAE) -> Tensor:
    """The prior's standard deviation of every latent, in float64 on the CPU; one for all or each."""
    with inference(model):
        return torch.as_tensor(model.prior_distribution().scale).cpu().double()


def _latent_fields(terms: ExampleTerms, prior_scale: Tensor) -> dict[str, Any]:
    """The fields of an evaluation that come of single latents."""
    kl = terms.latent_kl_nats
    variances = (terms.means / prior_scale).var(0, correction=0).tolist()
    low, high = np.quantile(kl.numpy(), (0.1, 0.9), axis=0)
    active = sum(variance > ACTIVE_VARIANCE for variance in variances)
    return {
        "active_units": active,
        "collapsed": active == 0,
        "latent_kl_nats": tuple(kl.mean(0).tolist()),
        "latent_kl_std_nats": tuple(kl.std(0, correction=0).tolist()),
        "latent_kl_q10_nats": tuple(low.tolist()),
        "latent_kl_q90_nats": tuple(high.tolist()),
        "latent_mean_variance": tuple(variances),
    }


def _mean_and_stderr(values: Float[Tensor, " example"]) -> tuple[float, float]:
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def _bits_per_dim(model: VAE, data: DataSet, bound_nats: float) -> float | None:
    levels = model.likelihood.levels
    if levels is None or (levels == 2 and not data.binary):
        return None
    return bound_nats / (data.pixels * math.log(2))


def _psnr_db(mse: float, peak: float | None) -> float | None:
    if peak is None or mse <= 0:
        return None
    return 10 * math.log10(peak**2 / mse)
