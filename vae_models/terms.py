"""The terms of one training pass: everything that an objective can weigh."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from vae_models.posterior import Posterior
from vae_models.prior_distributions import PriorDistribution

__all__ = ["Code", "Terms"]


@final
@dataclass(frozen=True, slots=True)
class Code:
    """What the networks and the prior make of images: all of a pass that knows no likelihood.

    Attributes:
        posterior: q(z|x).
        prior: p(z).
        latents: The draw z ~ q(z|x).
        rate_nats: KL(q(z|x) ‖ p(z)), as `Terms` has it.
        output: The decoder's, at `latents`.
    """

    posterior: Posterior
    prior: PriorDistribution
    latents: Float[Tensor, "batch latent"]
    rate_nats: Float[Tensor, " batch"]
    output: Float[Tensor, "batch output height width"]


@final
@dataclass(frozen=True, slots=True)
class Terms:
    """The unweighted terms of one pass, one number per example, and what they were made from.

    Attributes:
        rate_nats: KL(q(z|x) ‖ p(z)), summed over the latents; an estimate from `latents` where
            the prior has no closed form.
        distortion_nll_nats: -ln p(x|z) at `latents`, summed over the pixels.
        distortion_se: Squared error of E[x|z] at the same z; may come without a gradient.
        posterior: q(z|x).
        latents: The draw z ~ q(z|x).
        prior: p(z).
    """

    rate_nats: Float[Tensor, " batch"]
    distortion_nll_nats: Float[Tensor, " batch"]
    distortion_se: Float[Tensor, " batch"]
    posterior: Posterior
    latents: Float[Tensor, "batch latent"]
    prior: PriorDistribution

    @property
    def latent_kl_nats(self) -> Float[Tensor, "batch latent"]:
        """KL between the marginals of every latent."""
        return self.prior.latent_kl_nats(self.posterior, self.latents)
