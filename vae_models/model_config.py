"""The network, the prior and the likelihood of a VAE: names, parameters and their checks."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vae_models.config_checks import (
    as_whole,
    check_choice,
    check_integer,
    check_number,
    set_field,
    settle_parameters,
)
from vae_models.errors import ConfigError

__all__ = [
    "FACTORISED_PRIORS",
    "FAMILIES",
    "LARGEST_FULL_LATENT",
    "LEAST_LOG_SIGMA",
    "LIKELIHOODS",
    "LIKELIHOOD_PARAMETERS",
    "MODEL_DEFAULTS",
    "MOST_COMPONENTS",
    "OUTPUT_ACTIVATIONS",
    "POSTERIORS",
    "PRIORS",
    "PRIOR_PARAMETERS",
    "ModelConfig",
]

FAMILIES = ("linear", "mlp", "conv", "resnet")
POSTERIORS = ("diagonal", "full")
PRIORS = ("standard", "scaled", "learned", "mixture", "vamp")
LIKELIHOODS = (
    "gaussian",
    "gaussian_learned",
    "gaussian_optimal",
    "gaussian_pixel",
    "bernoulli",
    "continuous_bernoulli",
    "beta",
    "laplace",
    "discretized_logistic",
    "categorical256",
    "mse",
    "bce",
)
OUTPUT_ACTIVATIONS = ("none", "sigmoid")

FACTORISED_PRIORS = ("standard", "scaled", "learned")
"""Priors under which the KL of a diagonal posterior is a sum over latents, in closed form."""

LIKELIHOOD_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "gaussian": ("sigma2", "output_activation"),
    "gaussian_learned": ("sigma2", "output_activation"),
    "gaussian_optimal": ("output_activation",),
    "gaussian_pixel": ("output_activation",),
    "laplace": ("output_activation",),
    "mse": ("output_activation",),
}
"""The fields of `ModelConfig` that each likelihood reads; the others read none."""

PRIOR_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "scaled": ("prior_scale",),
    "mixture": ("prior_components",),
    "vamp": ("prior_components",),
}
"""The fields of `ModelConfig` that each prior reads; the others read none."""

MODEL_DEFAULTS: Mapping[str, float | int | str] = {
    "output_activation": "none",
    "prior_components": 16,
}
"""What a field that is left out takes where something reads it; None elsewhere."""

LEAST_LOG_SIGMA = -6.0
"""Where a learned ln sigma is softly clamped from below (Rybkin et al. 2021, sigma-VAE)."""

LARGEST_FULL_LATENT = 64
"""The largest latent dimension of a full-covariance encoder: it has M (M + 1) / 2 more outputs."""

MOST_COMPONENTS = 10_000
"""Of a mixture as the prior: every draw of a batch is compared with every component."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network, the prior and the likelihood of a VAE.

    A field that nothing reads under the other settings is None (`DEFAULTS` says what it is where
    it is read), but for `hidden` and `sigma2`, which are then ignored.

    Attributes:
        family: One of `FAMILIES`.
        hidden: Widths of the hidden layers of the ``mlp`` encoder; the decoder mirrors them.
        latent_dim: M, the number of latents.
        posterior: Covariance of q(z|x): ``diagonal``, or ``full`` for at most
            `LARGEST_FULL_LATENT` latents.
        prior: p(z), one of `PRIORS`.
        prior_scale: Standard deviation of every latent under the ``scaled`` prior, which needs
            one; beyond 1e±6 single precision could not hold the rate.
        prior_components: Components of the ``mixture`` and ``vamp`` priors, at most
            `MOST_COMPONENTS`.
        likelihood: One of `LIKELIHOODS`.
        sigma2: Decoder variance in squared model units: fixed (``gaussian``, within 1e±15: beyond,
            the squares of Adam's gradients leave single precision) or its starting value
            (``gaussian_learned``, above exp(2 LEAST_LOG_SIGMA)).
        output_activation: What the decoder's output goes through to be a mean or location:
            ``none`` or ``sigmoid``.
    """

    family: str = "mlp"
    hidden: tuple[int, ...] = (512,)
    latent_dim: int = 16
    posterior: str = "diagonal"
    prior: str = "standard"
    prior_scale: float | None = None
    prior_components: int | None = None
    likelihood: str = "gaussian"
    sigma2: float = 1.0
    output_activation: str | None = None

    def __post_init__(self) -> None:
        check_choice(self, "family", FAMILIES)
        check_choice(self, "posterior", POSTERIORS)
        check_choice(self, "prior", PRIORS)
        check_choice(self, "likelihood", LIKELIHOODS)
        settle_parameters(self, "prior", PRIOR_PARAMETERS, MODEL_DEFAULTS)
        settle_parameters(self, "likelihood", LIKELIHOOD_PARAMETERS, MODEL_DEFAULTS)
        set_field(self, "hidden", _widths(self.hidden))
        check_integer(self, "latent_dim", low=1)
        if self.prior == "scaled" and self.prior_scale is None:
            raise ConfigError.unmet("prior_scale > 0", "prior 'scaled'", prior_scale=None)
        check_number(self, "prior_scale", low=1e-6, high=1e6, optional=True)
        check_integer(self, "prior_components", low=1, high=MOST_COMPONENTS, optional=True)
        check_number(self, "sigma2", low=0.0, open_low=True)
        check_choice(self, "output_activation", OUTPUT_ACTIVATIONS, optional=True)
        if self.family == "mlp" and not self.hidden:
            raise ConfigError.unmet("len(hidden) >= 1", "family 'mlp'", hidden=self.hidden)
        if self.likelihood == "gaussian":
            check_number(self, "sigma2", low=1e-15, high=1e15)
        if self.likelihood == "gaussian_learned":
            check_number(self, "sigma2", low=math.exp(2 * LEAST_LOG_SIGMA), open_low=True)
        if self.posterior == "full":
            self._refuse_large_covariance()

    def _refuse_large_covariance(self) -> None:
        if self.latent_dim > LARGEST_FULL_LATENT:
            raise ConfigError.unmet(
                f"latent_dim <= {LARGEST_FULL_LATENT}",
                "posterior 'full'",
                latent_dim=self.latent_dim,
            )
        if self.prior == "vamp":
            raise ConfigError(
                "Prior 'vamp' mixes the posteriors of its pseudo-inputs and must have "
                "posterior='diagonal', but got posterior='full'."
            )


def _widths(hidden: object) -> tuple[int, ...]:
    values = list(hidden) if isinstance(hidden, Iterable) and not isinstance(hidden, str) else None
    widths = [as_whole(value) for value in values] if values is not None else [None]
    if any(width is None or width < 1 for width in widths):
        raise ConfigError.unmet("every width >= 1", "a list of hidden widths", hidden=hidden)
    return tuple(width for width in widths if width is not None)
