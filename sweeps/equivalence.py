"""Which trials are the same training up to the scale of their loss, and a key that they share.

A loss times a constant has the same minima, and Adam, which divides a gradient by its own size,
takes the same steps: so neither the reduction nor, at a fixed level t = beta sigma², the variance
of a Gaussian decoder changes the model. What is left of a scale is Adam's epsilon (1e-8, against
the root mean square of a gradient) and rounding: equivalent trials end close together, not at the
same bits (`tests/sweeps/test_dedupe.py` says how close).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sweeps.fields import FIELDS
from sweeps.tree import holds
from vae_models.config import ModelConfig, TrialConfig
from vae_models.likelihood_kinds import MSE_SIGMA2

__all__ = ["WEIGHTS", "canonical", "equivalence_of", "fixed_sigma2", "initial_sigma2"]

WEIGHTS: Mapping[str, str] = {"capacity": "gamma", "wae_mmd": "mmd_weight"}
"""What stands against the NLL in nats, by regulariser; beta in all others that read it."""


def fixed_sigma2(model: ModelConfig) -> float | None:
    """The decoder's variance where it is Gaussian and fixed, else None."""
    return {"gaussian": model.sigma2, "mse": MSE_SIGMA2}.get(model.likelihood)


def initial_sigma2(model: ModelConfig) -> float | None:
    """The decoder's variance at the start of the training; None where no setting gives it."""
    return model.sigma2 if model.likelihood == "gaussian_learned" else fixed_sigma2(model)


def equivalence_of(config: TrialConfig) -> str:
    """SHA-256, hexadecimal, of a trial's settings up to the scale of its loss.

    The reduction and what no part of the trial reads are left out; under a Gaussian decoder of
    fixed variance (``mse`` is one with 1/2), that variance and the weight against the NLL become
    their product t, to twelve digits; ``bce`` is the loss of ``bernoulli``. The seed and all else
    count.

    Args:
        config: The trial, beta in canonical units.
    """
    text = json.dumps(_canonical(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(config: TrialConfig) -> dict[str, Any]:
    nested = config.to_dict()
    flat = {name: nested[field.section][name] for name, field in FIELDS.items()}
    return canonical({name: value for name, value in flat.items() if holds(name, flat)})


def canonical(read: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide on the model, in one form for all that give the same.

    Args:
        read: What a trial reads, by field, beta in canonical units.
    """
    kept: dict[str, Any] = {
        name: _rounded(value) for name, value in read.items() if name != "reduction"
    }
    if kept["likelihood"] == "bce":
        kept["likelihood"] = "bernoulli"
    if kept["likelihood"] not in ("gaussian", "mse"):
        return kept
    return _with_level(kept, MSE_SIGMA2 if kept["likelihood"] == "mse" else kept["sigma2"])


def _with_level(kept: dict[str, Any], sigma2: float) -> dict[str, Any]:
    """The settings with t for the variance and the weight, where only t counts."""
    weight = WEIGHTS.get(kept["regulariser"], "beta")
    kept |= {"likelihood": "gaussian", "sigma2": _rounded(sigma2)}
    if weight in kept:  # GECO has none: there the variance is where its multiplier starts
        del kept["sigma2"]
        kept["level"] = _rounded(sigma2 * kept.pop(weight))
    return kept


def _rounded(value: object) -> object:
    return float(f"{value:.12g}") if isinstance(value, float) else value
