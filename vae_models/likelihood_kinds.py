"""What is known of a likelihood by its name: which data it takes, what its NLL is measured in."""

from collections.abc import Mapping

__all__ = [
    "AMOUNTS_TO",
    "DISCRETE_LIKELIHOODS",
    "LARGEST_CATEGORICAL_PIXELS",
    "LIKELIHOOD_MEASURES",
    "UNIT_INTERVAL_LIKELIHOODS",
]

UNIT_INTERVAL_LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "beta",
    "discretized_logistic",
    "categorical256",
    "bce",
)
"""Likelihoods of values between 0 and 1."""

DISCRETE_LIKELIHOODS = ("bernoulli", "discretized_logistic", "categorical256", "bce")
"""Likelihoods that give a pixel's levels probabilities; the others give a density."""

LIKELIHOOD_MEASURES: Mapping[str, str] = {
    "gaussian": "a density",
    "gaussian_learned": "a density",
    "gaussian_optimal": "a density",
    "gaussian_pixel": "a density",
    "bernoulli": "binary probabilities",
    "continuous_bernoulli": "a density",
    "beta": "a density",
    "laplace": "a density",
    "discretized_logistic": "probabilities of 256 levels",
    "categorical256": "probabilities of 256 levels",
    "mse": "a density",
    "bce": "binary probabilities",
}
"""What each likelihood gives to an image; NLLs of different measures have no common axis."""

AMOUNTS_TO: Mapping[str, str] = {
    "mse": "gaussian with sigma2 = 1/2",
    "bce": "bernoulli on binary data; no likelihood on grey levels",
}
"""What the losses that are no likelihoods as written are equivalent to."""

LARGEST_CATEGORICAL_PIXELS = 3072
"""N of the largest image for ``categorical256``: 256 N outputs (3 x 32 x 32 has 786,432)."""
