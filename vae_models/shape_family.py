"""Which trials can train as one program, and which of them share a loss."""

from collections.abc import Hashable

from vae_models.config import ObjectiveConfig, TrialConfig
from vae_models.likelihoods import likelihood_of

__all__ = ["loss_structure", "shape_family"]


def shape_family(config: TrialConfig) -> Hashable:
    """What trials of one pack have in common: the architecture, latents aside, and the batch size.

    The architecture includes how many numbers the decoder gives per pixel and the kind of prior.
    """
    model = config.model
    return (
        model.family,
        model.hidden if model.family == "mlp" else None,
        model.posterior,
        model.prior,
        model.prior_components,
        likelihood_of(model).outputs_per_pixel,
        config.train.batch_size,
    )


def loss_structure(config: TrialConfig) -> tuple[Hashable, ...]:
    """What trials have in common whose losses are one formula with other numbers in it.

    The first two parts are those of the likelihood.
    """
    model, objective = config.model, config.objective
    return (
        model.likelihood,
        model.output_activation,
        objective.regulariser,
        _formula(objective),
    )


def _formula(objective: ObjectiveConfig) -> Hashable:
    """What else decides which terms a regulariser computes."""
    match objective.regulariser:
        case "free_bits":
            return objective.group_size if objective.free_nats else 0
        case "tcvae":
            return objective.tc_weight != 1
    return None
