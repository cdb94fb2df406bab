"""An annealing that never comes to the full weight: told before the training and noted after it."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sweeps.setting_checks import key_of
from sweeps.space import batch_in_force
from sweeps.spec import Spec
from vae_models.config import SCHEDULE_PARAMETERS, ObjectiveConfig, TrialConfig
from vae_models.errors import ConfigError
from vae_models.schedules import annealing_weight

__all__ = ["annealing_note", "unfinished_annealings"]

_FULL = 0.99
_MOST = 2000
"""Combinations of settings that are looked at, so that the notes take no time."""


def annealing_note(config: TrialConfig, examples: int) -> str | None:
    """What is kept of a trial whose annealing ended below the full weight; else None.

    Args:
        config: The trial, trained to its end.
        examples: Size of the training split.
    """
    train = config.train
    share = _last_weight(config.objective, train.batch_size, train.epochs, examples)
    if share >= _FULL:
        return None
    return f"The annealing ended at {share:.3g} of the full weight{_in_force(config.objective, share)}."


def _in_force(objective: ObjectiveConfig, share: float) -> str:
    """The weight, or the capacity, at the last step; nothing for GECO, which has neither."""
    named = {
        "capacity": ("the capacity", objective.capacity_nats, " nats"),
        "wae_mmd": ("the weight of the MMD", objective.mmd_weight, ""),
        "geco": ("", None, ""),
    }
    name, full, unit = named.get(objective.regulariser, ("the beta", objective.beta, ""))
    return "" if full is None else f": {name} in force at the end was {share * full:.4g}{unit}"


def unfinished_annealings(spec: Spec, examples: int) -> Iterator[str]:
    """A sentence for each schedule of a spec that can end below the full weight.

    Args:
        spec: A valid spec; of its ranges both ends are looked at.
        examples: Size of the training split.
    """
    setting = spec.settings["annealing"]
    for name in setting.bounds:
        shares = list(itertools.islice(_last_weights(spec, str(name), examples), _MOST))
        if min(shares, default=1.0) < _FULL:
            trials = "some trials" if max(shares) >= _FULL else "the training"
            yield (
                f"{key_of('annealing', setting)}: {name!r} ends {trials} at {min(shares):.3g} of "
                "the full weight, so that less than beta (or the capacity, or mmd_weight) is in "
                f"force; look at {_causes(str(name))}."
            )


def _causes(annealing: str) -> str:
    return f"{', '.join(SCHEDULE_PARAMETERS[annealing])}, annealing_unit and train.epochs"


def _last_weights(spec: Spec, annealing: str, examples: int) -> Iterator[float]:
    """Of every combination of the settings that the last weight depends on."""
    named = (*SCHEDULE_PARAMETERS[annealing], "annealing_unit", "epochs", "batch_size")
    names = [name for name in named if name in spec.settings]
    for values in itertools.product(*(spec.settings[name].bounds for name in names)):
        chosen: dict[str, Any] = dict(zip(names, values, strict=True))
        epochs, batch = chosen.pop("epochs"), chosen.pop("batch_size")
        with suppress(ConfigError):  # a combination that no trial can have
            objective = ObjectiveConfig(annealing=annealing, **chosen)
            yield _last_weight(objective, batch, epochs, examples)


def _last_weight(objective: ObjectiveConfig, batch: int, epochs: int, examples: int) -> float:
    """The share of the full weight at the last step of the training."""
    steps = examples // batch_in_force(batch, examples)
    return annealing_weight(objective, steps * epochs - 1, steps, epochs)
