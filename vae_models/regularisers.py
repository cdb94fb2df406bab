"""Regularisers: what stands beside the NLL in the loss, and with which weight."""

from typing import TypeVar

from vae_models.capacity import Capacity
from vae_models.config import TrialConfig
from vae_models.free_bits import FreeBits
from vae_models.geco import Geco
from vae_models.kl import KlRegulariser
from vae_models.likelihood_kinds import MSE_SIGMA2
from vae_models.objective import Weights, raw_weight_of, weights_of
from vae_models.regulariser import Loss, PriorDraws, Regulariser, stacked
from vae_models.squashed import Squashed
from vae_models.tcvae import BetaTcVae
from vae_models.wae_mmd import WaeMmd

__all__ = ["Loss", "PriorDraws", "Regulariser", "regulariser_of", "stacked"]


def regulariser_of(config: TrialConfig, *, pixels: int, batch: int, examples: int) -> Regulariser:
    """The regulariser that a trial's settings name.

    Args:
        config: The trial.
        pixels: N = C·H·W of the data.
        batch: Examples per step.
        examples: Training examples.

    Raises:
        ConfigError: The regulariser cannot work on batches of this size.
    """
    objective, model = config.objective, config.model
    weights = _weights(config, pixels=pixels, batch=batch)
    match objective.regulariser:
        case "kl":
            return KlRegulariser(weights)
        case "free_bits":
            free, size = _given(objective.free_nats), _given(objective.group_size)
            return FreeBits(weights, free_nats=free, group_size=size)
        case "capacity":
            gamma, capacity = _given(objective.gamma), _given(objective.capacity_nats)
            return Capacity(weights.nll, gamma=gamma, capacity_nats=capacity)
        case "wae_mmd":
            weight, scale = _given(objective.mmd_weight), model.prior_scale or 1.0
            return WaeMmd(weights.nll, mmd_weight=weight, prior_scale=scale, batch=batch)
        case "tcvae":
            return BetaTcVae(weights, tc_weight=_given(objective.tc_weight), examples=examples)
        case "geco":
            sigma2 = MSE_SIGMA2 if model.likelihood == "mse" else model.sigma2
            return Geco(weights.nll, sigma2=sigma2, target_se=_given(objective.target_se))
        case "squashed":
            return Squashed(weights)
    raise AssertionError(f"unreachable: {objective.regulariser!r} passed validation")


def _weights(config: TrialConfig, *, pixels: int, batch: int) -> Weights:
    """The pair at the canonical beta; that of the NLL is the overall scale of any loss."""
    objective = config.objective
    sizes = {"pixels": pixels, "latents": config.model.latent_dim, "batch": batch}
    raw = raw_weight_of(objective.reduction, objective.beta, **sizes)
    return weights_of(objective.reduction, raw, **sizes)


_Value = TypeVar("_Value")


def _given(value: _Value | None) -> _Value:
    """A parameter that validation filled in, as the chosen regulariser reads it."""
    if value is None:
        raise AssertionError("unreachable: what a regulariser reads has a value")
    return value
