"""What is known of a likelihood by its name: which data it takes, what its NLL is measured in."""

from collections.abc import Mapping

__all__ = [
    "AMOUNTS_TO",
    "LARGEST_CATEGORICAL_PIXELS",
    "LIKELIHOOD_MEASURES",
    "MSE_SIGMA2",
    "UNIT_INTERVAL_LIKELIHOODS",
    "loss_note",
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

LIKELIHOOD_MEASURES: Mapping[str, str] = {
    "gaussian": "a Gaussian density",
    "gaussian_learned": "a Gaussian density",
    "gaussian_optimal": "a Gaussian density",
    "gaussian_pixel": "a Gaussian density",
    "bernoulli": "binary probabilities",
    "continuous_bernoulli": "a continuous Bernoulli density",
    "beta": "a beta density",
    "laplace": "a Laplace density",
    "discretized_logistic": "probabilities of 256 levels",
    "categorical256": "probabilities of 256 levels",
    "mse": "a Gaussian density",
    "bce": "binary probabilities",
}
"""What each likelihood gives to an image: NLLs in nats compare within one such family only."""

MSE_SIGMA2 = 0.5
"""sigma² of the Gaussian decoder whose NLL is the squared error, up to a constant."""

AMOUNTS_TO: Mapping[str, str] = {
    "mse": "gaussian with sigma2 = 1/2",
    "bce": "bernoulli on binary data; no likelihood on grey levels",
}
"""What the losses that are no likelihoods as written are equivalent to."""

LARGEST_CATEGORICAL_PIXELS = 3072
"""N of the largest image for ``categorical256``: 256 N outputs (3 x 32 x 32 has 786,432)."""


def loss_note(amounts_to: str | None) -> str | None:
    """What is kept with a trial whose loss is no likelihood; None for a likelihood.

    Args:
        amounts_to: One of `AMOUNTS_TO`; None for a likelihood.
    """
    if amounts_to is None:
        return None
    return (
        "The loss is no likelihood as it is written; its nats are those of what it amounts to: "
        f"{amounts_to}."
    )
