"""Total correlation of the aggregated posterior, estimated within a minibatch."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.posterior import Posterior

__all__ = [
    "log_aggregate_density",
    "log_product_of_marginals",
    "total_correlation_nats",
]


def log_aggregate_density(
    latents: Float[Tensor, "batch latent"], posterior: Posterior, examples: int
) -> Float[Tensor, " batch"]:
    """The log-density ln q(z) of every row in nats, by minibatch-weighted sampling.

    ``ln q(z_i) ≈ ln [1/(n B) Σ_k q(z_i|x_k)]``, k over the B examples of the batch: a lower bound
    on average. It lies ln B too low where the batch is the whole training set. Chen et al. 2018,
    https://arxiv.org/abs/1802.04942, appendix C.1.

    Args:
        latents: Draws z_i ~ q(z|x_i).
        posterior: q(z|x_k) of the batch.
        examples: n, the training examples.
    """
    pairs = posterior.log_prob(latents.unsqueeze(1))
    return torch.logsumexp(pairs, 1) - _log_count(posterior, examples)


def log_product_of_marginals(
    latents: Float[Tensor, "batch latent"], posterior: Posterior, examples: int
) -> Float[Tensor, " batch"]:
    """The log-density ln Π_j q(z_j) of every row in nats, each factor estimated as ln q(z) is.

    Args:
        latents: Draws z_i ~ q(z|x_i).
        posterior: q(z|x_k) of the batch.
        examples: n, the training examples.
    """
    pairs = posterior.marginal_log_prob(latents.unsqueeze(1))
    factors = torch.logsumexp(pairs, 1) - _log_count(posterior, examples)
    return (factors * posterior.in_use).sum(-1)


def total_correlation_nats(
    latents: Float[Tensor, "batch latent"], posterior: Posterior, examples: int
) -> Float[Tensor, ""]:
    """TC = KL(q(z) ‖ Π_j q(z_j)) as the batch mean of ``ln q(z) - ln Π_j q(z_j)``, in nats.

    The gradient does not depend on `examples`. The value does, by (M - 1) ln n, and where the
    batch is the whole training set it lies (M - 1) ln B too high: minimise it, but report it not.

    Args:
        latents: Draws z_i ~ q(z|x_i).
        posterior: q(z|x_k) of the batch.
        examples: n, the training examples.
    """
    joint = log_aggregate_density(latents, posterior, examples)
    return (joint - log_product_of_marginals(latents, posterior, examples)).mean()


def _log_count(posterior: Posterior, examples: int) -> float:
    return math.log(examples) + math.log(len(posterior.mean))
