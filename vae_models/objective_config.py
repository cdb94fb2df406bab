"""How a rate is weighed: the names of regularisers and schedules, their parameters and checks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from vae_models.config_checks import (
    check_choice,
    check_integer,
    check_number,
    check_numbers,
    settle_parameters,
)
from vae_models.errors import ConfigError
from vae_models.objective import REDUCTIONS

__all__ = [
    "ANNEALING_UNITS",
    "OBJECTIVE_DEFAULTS",
    "RAMP_SHAPES",
    "REGULARISERS",
    "REGULARISER_PARAMETERS",
    "SCHEDULES",
    "SCHEDULE_PARAMETERS",
    "ObjectiveConfig",
]

REGULARISERS = ("kl", "free_bits", "capacity", "wae_mmd", "tcvae", "geco", "squashed")
SCHEDULES = ("constant", "linear", "cosine", "sigmoid", "cyclical", "delayed", "stepwise")
RAMP_SHAPES = ("linear", "cosine", "sigmoid")
ANNEALING_UNITS = ("fraction", "step", "epoch")

_LARGEST_WEIGHT = 1e30  # beyond it a loss in single precision may overflow

REGULARISER_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "kl": ("beta",),
    "free_bits": ("beta", "free_nats", "group_size"),
    "capacity": ("gamma", "capacity_nats"),
    "wae_mmd": ("mmd_weight",),
    "tcvae": ("beta", "tc_weight"),
    "geco": ("target_se",),
    "squashed": ("beta",),
}
"""The fields of `ObjectiveConfig` that each regulariser reads."""

SCHEDULE_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("warmup",),
    "cosine": ("warmup",),
    "sigmoid": ("midpoint", "steepness"),
    "cyclical": ("cycles", "ramp", "ramp_shape"),
    "delayed": ("delay", "warmup", "ramp_shape"),
    "stepwise": ("milestones", "milestone_weights"),
}
"""The fields of `ObjectiveConfig` that each annealing schedule reads."""

OBJECTIVE_DEFAULTS: Mapping[str, float | int | str] = {
    "free_nats": 0.1,
    "group_size": 1,
    "gamma": 1000.0,
    "capacity_nats": 25.0,
    "mmd_weight": 10.0,
    "tc_weight": 6.0,
    "ramp_shape": "linear",
}
"""What a parameter that is left out takes where something reads it; None elsewhere."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """How the rate is weighed: the regulariser, its weight, the reduction and the annealing.

    A parameter that the chosen regulariser or schedule does not read is None, but for `beta`
    and `annealing_unit`, which are then ignored.

    Attributes:
        regulariser: One of `REGULARISERS`: what stands beside the NLL in the loss.
        beta: Canonical beta (nats of KL against nats of NLL, sum over both).
        free_nats: ``free_bits``: nats per group that cost nothing (Kingma et al. 2016).
        group_size: ``free_bits``: latents per group; 0 for one group of all.
        gamma: ``capacity``: weight of |K - C| against the NLL in nats (Burgess et al. 2018).
        capacity_nats: ``capacity``: C after annealing; the schedule anneals C, not the weight.
        mmd_weight: ``wae_mmd``: weight of the MMD against the NLL in nats (Tolstikhin et al. 2018).
        tc_weight: ``tcvae``: weight of the total correlation within beta (Chen et al. 2018).
        target_se: ``geco``: the squared error per example to reach (Rezende & Viola 2018).
        reduction: One of `vae_models.objective.REDUCTIONS`; an overall scale of the loss.
        annealing: One of `SCHEDULES`; its parameters are `SCHEDULE_PARAMETERS[annealing]`.
        annealing_unit: The unit of `warmup`, `delay`, `midpoint`, 1/`steepness` and `milestones`:
            a fraction of the training, optimiser steps, or whole epochs.
        warmup: Length of the ramp of ``linear``, ``cosine`` and ``delayed``; half of the training
            if None (``delayed``: a quarter).
        midpoint: Where the sigmoid is one half; a quarter of the training if None.
        steepness: Slope of the sigmoid's exponent per unit; 10/midpoint if None.
        cycles: Number of cycles in the training; 4 if None.
        ramp: Share of each cycle that rises, the rest is at one; 0.5 if None.
        ramp_shape: Shape of the ramps of ``cyclical`` and ``delayed``.
        delay: ``delayed``: how long the weight stays zero; a quarter of the training if None.
        milestones: ``stepwise``: the positions at which the weight changes, rising.
        milestone_weights: ``stepwise``: the weight from each milestone on, in [0, 1]; zero
            before the first.
    """

    regulariser: str = "kl"
    beta: float = 1.0
    free_nats: float | None = None
    group_size: int | None = None
    gamma: float | None = None
    capacity_nats: float | None = None
    mmd_weight: float | None = None
    tc_weight: float | None = None
    target_se: float | None = None
    reduction: str = "sum"
    annealing: str = "constant"
    annealing_unit: str = "fraction"
    warmup: float | None = None
    midpoint: float | None = None
    steepness: float | None = None
    cycles: int | None = None
    ramp: float | None = None
    ramp_shape: str | None = None
    delay: float | None = None
    milestones: tuple[float, ...] | None = None
    milestone_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_choice(self, "regulariser", REGULARISERS)
        check_number(self, "beta", low=0.0, high=_LARGEST_WEIGHT)
        check_choice(self, "reduction", REDUCTIONS)
        check_choice(self, "annealing", SCHEDULES)
        check_choice(self, "annealing_unit", ANNEALING_UNITS)
        settle_parameters(self, "regulariser", REGULARISER_PARAMETERS, OBJECTIVE_DEFAULTS)
        settle_parameters(self, "annealing", SCHEDULE_PARAMETERS, OBJECTIVE_DEFAULTS)
        self._check_regulariser()
        longest = 1.0 if self.annealing_unit == "fraction" else math.inf
        check_number(self, "warmup", low=0.0, high=longest, optional=True)
        check_number(self, "midpoint", low=0.0, high=longest, open_low=True, optional=True)
        check_number(self, "steepness", low=0.0, open_low=True, optional=True)
        check_integer(self, "cycles", low=1, optional=True)
        check_number(self, "ramp", low=0.0, high=1.0, optional=True)
        check_choice(self, "ramp_shape", RAMP_SHAPES, optional=True)
        check_number(self, "delay", low=0.0, high=longest, optional=True)
        self._check_milestones(longest)

    @property
    def reads_beta(self) -> bool:
        """Whether beta is a part of the loss; else no fixed beta amounts to it in advance."""
        return "beta" in REGULARISER_PARAMETERS[self.regulariser]

    def _check_regulariser(self) -> None:
        check_number(self, "free_nats", low=0.0, high=_LARGEST_WEIGHT, optional=True)
        for name in ("capacity_nats", "mmd_weight", "tc_weight"):
            check_number(self, name, low=0.0, optional=True)
        check_number(self, "gamma", low=0.0, open_low=True, optional=True)
        check_integer(self, "group_size", low=0, optional=True)
        if self.regulariser == "geco" and self.target_se is None:
            raise ConfigError.unmet(
                "target_se > 0", "regulariser 'geco' (squared error per example)", target_se=None
            )
        check_number(self, "target_se", low=0.0, open_low=True, optional=True)

    def _check_milestones(self, longest: float) -> None:
        if self.annealing != "stepwise":
            return
        check_numbers(self, "milestones", low=0.0, high=longest)
        check_numbers(self, "milestone_weights", low=0.0, high=1.0)
        places, weights = self.milestones or (), self.milestone_weights or ()
        rising = all(first < second for first, second in pairwise(places))
        if not places or len(places) != len(weights) or not rising:
            raise ConfigError.unmet(
                "len(milestones) == len(milestone_weights) >= 1 and milestones rise",
                "annealing 'stepwise'",
                milestones=places,
                milestone_weights=weights,
            )
