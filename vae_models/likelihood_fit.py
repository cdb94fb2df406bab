"""Which data a likelihood can have: what does not fit is refused before anything is trained."""

import math

import torch

from vae_models.config import ModelConfig
from vae_models.data import DataSet
from vae_models.errors import ConfigError, DataError
from vae_models.likelihood_kinds import LARGEST_CATEGORICAL_PIXELS, UNIT_INTERVAL_LIKELIHOODS

__all__ = ["refuse_unfit"]

_ROUNDING = 1e-6
_TOP_LEVEL = 255
_WAY_OUT = "Use 'gaussian' or 'gaussian_learned'."


def refuse_unfit(config: ModelConfig, data: DataSet) -> None:
    """Passes if the likelihood of a model can have the data.

    Args:
        config: The model.
        data: The data that it is to be trained on.

    Raises:
        ConfigError: The likelihood is one of values between 0 and 1 and the data are not, or it
            has 256 outputs per pixel and the images are too large for that.
        DataError: A value is NaN or infinite.
    """
    if config.likelihood not in UNIT_INTERVAL_LIKELIHOODS:
        _refuse_non_finite(data)
        return
    if data.peak is None:
        raise ConfigError(
            f"Likelihood {config.likelihood!r} must have data between 0 and 1, but got "
            f"{data.name!r}, whose values have no bounds. {_WAY_OUT}"
        )
    lowest, highest = _range(data)
    if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
        raise ConfigError(
            f"Likelihood {config.likelihood!r} must have data between 0 and 1, but got "
            f"{data.name!r} with values from {lowest:g} to {highest:g}. {_WAY_OUT}"
        )
    if config.likelihood == "categorical256" and data.pixels > LARGEST_CATEGORICAL_PIXELS:
        raise ConfigError.unmet(
            f"pixels <= {LARGEST_CATEGORICAL_PIXELS}",
            "likelihood 'categorical256', which has 256 outputs per pixel "
            "('discretized_logistic' has 2)",
            pixels=data.pixels,
        )


def _refuse_non_finite(data: DataSet) -> None:
    lowest, highest = _range(data)
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise DataError(
            "Data must have finite values in single precision, but got "
            f"{data.name!r} with values from {lowest:g} to {highest:g}."
        )


def _range(data: DataSet) -> tuple[float, float]:
    """The least and the largest value of both splits in model units; NaN where one is NaN."""
    if data.train.dtype == torch.uint8 and data.scale * _TOP_LEVEL <= 1 + _ROUNDING:
        return 0.0, data.scale * _TOP_LEVEL  # no byte is outside, without a look at them
    bounds = [
        torch.stack(split.aminmax()) for split in (data.train, data.heldout) if split.numel()
    ]
    both = torch.stack(bounds).double() * data.scale
    return both[:, 0].min().item(), both[:, 1].max().item()
