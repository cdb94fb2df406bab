"""The same evaluation on training examples: what R and D are before they generalise."""

from dataclasses import dataclass, replace
from typing import final

from vae_models.data import DataSet
from vae_models.example_terms import evenly_spaced, example_terms
from vae_models.vae import VAE

__all__ = ["TrainingPoint", "training_point"]


@final
@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """Rate and distortion on training examples; the generalisation gap is held-out minus these.

    Attributes:
        rate_nats: R, nats per example.
        distortion_se: Squared error per example, squared model units.
        distortion_nll_nats: Nats per example under the trial's own likelihood.
        examples: How many training examples.
    """

    rate_nats: float
    distortion_se: float
    distortion_nll_nats: float
    examples: int


def training_point(model: VAE, data: DataSet, *, samples: int = 1, seed: int = 0) -> TrainingPoint:
    """R and D on as many training examples as the held-out split has, or all if there are fewer.

    The examples are evenly spaced over the training split, so the choice is the same for every
    trial. Under dynamic binarisation they are drawn once, as the held-out split is. With the draws
    of `vae_models.evaluation.evaluate`: on the same examples the gap is exactly zero.

    Args:
        model: The model, on any device.
        data: The data set.
        samples: Draws of z per example.
        seed: Of the draws.
    """
    chosen = replace(data, heldout=evenly_spaced(data.train, len(data.heldout)))
    terms = example_terms(model, chosen.heldout_images(), samples=samples, seed=seed)
    return TrainingPoint(
        rate_nats=terms.rate_nats.mean().item(),
        distortion_se=terms.squared_error.mean().item(),
        distortion_nll_nats=terms.nll_nats.mean().item(),
        examples=len(terms.rate_nats),
    )
