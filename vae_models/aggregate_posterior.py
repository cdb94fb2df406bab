"""The aggregate posterior q(z) = E_x q(z|x), and what the rate is made of.

Over n examples, with one draw z_i ~ q(z|x_i) of each, q(z) is the mixture of their posteriors:
``ln q(z_i) = ln [1/n Σ_k q(z_i|x_k)]``, and the same for every latent. The rate falls apart into

    R = I(x; z) + KL(q(z) ‖ p(z))                                        Hoffman & Johnson 2016
    KL(q(z) ‖ p(z)) = TC + Σ_j KL(q(z_j) ‖ p(z_j)) + E_q ln [Π_j p(z_j) / p(z)]
                                        Chen et al. 2018, https://arxiv.org/abs/1802.04942

The last term is how far the prior itself is from the product of its marginals, seen from q(z):
zero for normal priors. Every term is a mean over the same draws, so both identities hold to
rounding, with the mean of ``ln q(z|x) - ln p(z)`` as R.

Unbiased for the n examples as the whole population. For the population that they are from, I is
too small on average, and at most ln n; the marginal KL is as much too large. Weighting the own
posterior as one among N (minibatch-weighted sampling of Chen et al.) is for gradients only: it
shifts the TC by (M - 1) ln n.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from vae_models.encoding import encode_all, sliced, widened
from vae_models.inference import inference
from vae_models.posterior import DiagonalNormal, Posterior
from vae_models.precision import float64
from vae_models.prior_distributions import PriorDistribution
from vae_models.vae import VAE

__all__ = ["AggregatePosterior", "aggregate_posterior", "decompose_rate"]

# Blocks of draws x examples x latents, in float64: 2 MiB, which the caches of a core can hold.
_BLOCK = 2**18
_EXAMPLES = 256


@final
@dataclass(frozen=True, kw_only=True)
class AggregatePosterior:
    """The parts of the rate, over `examples` examples and one draw of each, in nats.

    Attributes:
        examples: n.
        rate_nats: The mean of ln q(z|x) - ln p(z): R, estimated from the draws.
        mutual_information_nats: I(x; z) = E[ln q(z|x) - ln q(z)], at most ln n.
        marginal_kl_nats: KL(q(z) ‖ p(z)) = E[ln q(z) - ln p(z)].
        total_correlation_nats: TC = E[ln q(z) - Σ_j ln q(z_j)].
        dimension_kl_nats: Σ_j KL(q(z_j) ‖ p(z_j)) = E Σ_j [ln q(z_j) - ln p(z_j)].
        prior_dependence_nats: E[Σ_j ln p(z_j) - ln p(z)], zero for a prior that factorises.
    """

    examples: int
    rate_nats: float
    mutual_information_nats: float
    marginal_kl_nats: float
    total_correlation_nats: float
    dimension_kl_nats: float
    prior_dependence_nats: float

    @property
    def saturated(self) -> bool:
        """Whether I is within 1 nat of ln n, where it says little more than that it is larger.

        Of a few examples, which are always within 1 nat, whether it is above half of ln n.
        """
        most = math.log(self.examples)
        return self.mutual_information_nats > max(most - 1, most / 2)


def aggregate_posterior(
    model: VAE, images: Float[Tensor, "example channel height width"], *, seed: int = 0
) -> AggregatePosterior:
    """The parts of a model's rate over some images.

    Args:
        model: The model, on any device.
        images: In model units, on any device.
        seed: Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((len(images), model.latent_dim), generator=generator)
    with inference(model) as device:
        posterior, noise = encode_all(model, images), float64(noise.to(device))
        latents = widened(posterior).sample(noise)
        return decompose_rate(posterior, model.prior_distribution(), latents, noise=noise)


def decompose_rate(
    posterior: Posterior,
    prior: PriorDistribution,
    latents: Float[Tensor, "example latent"],
    *,
    noise: Float[Tensor, "example latent"] | None = None,
    block: int = _BLOCK,
) -> AggregatePosterior:
    """The parts of the rate, from one draw of every posterior; needs n² M densities.

    Args:
        posterior: q(z|x) of n examples.
        prior: p(z).
        latents: One draw of each.
        noise: What the draws were made of; without it, an ill-conditioned covariance makes the
            densities of the draws meaningless.
        block: How many densities of single latents are held at a time.
    """
    wide, draws = widened(posterior), float64(latents)
    conditional = _log_conditional(wide, draws, noise)
    joint, marginals = _log_aggregate(wide, draws, block)
    # q(z_i) is at least a share 1/n of q(z_i|x_i), also where rounding loses that share.
    joint = torch.maximum(joint, conditional - math.log(len(latents)))
    if latents.device != posterior.mean.device:  # MPS, which has no float64
        latents = latents.to(posterior.mean)
    log_prior = prior.log_prob(latents).to(joint)
    prior_marginals = prior.marginal_log_prob(latents).to(joint).sum(-1)
    return AggregatePosterior(
        examples=len(latents),
        rate_nats=(conditional - log_prior).mean().item(),
        mutual_information_nats=(conditional - joint).mean().item(),
        marginal_kl_nats=(joint - log_prior).mean().item(),
        total_correlation_nats=(joint - marginals).mean().item(),
        dimension_kl_nats=(marginals - prior_marginals).mean().item(),
        prior_dependence_nats=(prior_marginals - log_prior).mean().item(),
    )


def _log_conditional(
    posterior: Posterior, latents: Float[Tensor, "example latent"], noise: Tensor | None
) -> Float[Tensor, " example"]:
    """The log-density ln q(z_i|x_i) of every draw."""
    if noise is None:
        return posterior.log_prob(latents)
    return posterior.draw_log_prob(latents, float64(noise))


def _log_aggregate(
    posterior: Posterior, latents: Float[Tensor, "example latent"], block: int
) -> tuple[Float[Tensor, " example"], Float[Tensor, " example"]]:
    """The log-densities ln q(z_i) and Σ_j ln q(z_ij) of every draw, by running logsumexps."""
    count, latent_dim = latents.shape
    parts = sliced(posterior, _EXAMPLES)
    rows = max(1, block // (min(count, _EXAMPLES) * latent_dim))
    sums = []
    for draws in torch.split(latents, rows):
        joint = draws.new_full((len(draws),), -math.inf)
        marginals = draws.new_full(draws.shape, -math.inf)
        for part in parts:
            pairs, latent_pairs = _pairs(part, draws)
            joint = torch.logaddexp(joint, torch.logsumexp(pairs, 1))
            marginals = torch.logaddexp(marginals, torch.logsumexp(latent_pairs, 1))
        sums.append((joint, marginals.sum(-1)))
    log_joint, log_product = (torch.cat(column) for column in zip(*sums, strict=True))
    return log_joint - math.log(count), log_product - latent_dim * math.log(count)


def _pairs(
    posterior: Posterior, draws: Float[Tensor, "draw latent"]
) -> tuple[Float[Tensor, "draw example"], Float[Tensor, "draw example latent"]]:
    """The log-density ln q(z|x) of every draw under every example, and that of every latent."""
    latent_pairs = posterior.marginal_log_prob(draws.unsqueeze(1))
    if isinstance(posterior, DiagonalNormal):
        return latent_pairs.sum(-1), latent_pairs
    return posterior.log_prob(draws.unsqueeze(1)), latent_pairs
