"""The samplers by name, and which of them `auto` stands for."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from sweeps.settings import LARGEST_GRID
from sweeps.sobol_sampler import SobolSampler
from sweeps.space import Space

__all__ = ["ChosenSampler", "build_sampler", "choose_sampler", "quiet_optuna"]

_SMALLEST_SEARCH = 10
"""Trials below which a model-based sampler has nothing to learn from: its first ones are spread."""

_POPULATION = (8, 50)


@final
@dataclass(frozen=True, kw_only=True)
class ChosenSampler:
    """A sampler's name, and why it was taken.

    Attributes:
        name: random, sobol, grid, tpe, nsga2 or gp.
        reason: A sentence for the user.
    """

    name: str
    reason: str


def choose_sampler(name: str, space: Space, trials: int) -> ChosenSampler:
    """The sampler that a spec's `study.sampler` stands for.

    Args:
        name: What the spec says.
        space: The search space.
        trials: How many trials the study shall have.
    """
    if name != "auto":
        return ChosenSampler(name=name, reason="the spec says so")
    if space.grid_size is not None and space.grid_size <= min(trials, LARGEST_GRID):
        return ChosenSampler(
            name="grid", reason=f"{trials} trials are enough for all {space.grid_size} points"
        )
    if trials <= 2 * _SMALLEST_SEARCH:
        return ChosenSampler(
            name="sobol",
            reason=f"{trials} trials are too few to learn from; they are spread evenly",
        )
    return ChosenSampler(
        name="tpe", reason="it learns from both objectives, and from trials that diverge"
    )


def build_sampler(name: str, space: Space, *, seed: int, number: int, trials: int) -> BaseSampler:
    """A fresh sampler for the trial of this number.

    Its random numbers depend on the seed and the number alone: a restart never repeats a point,
    and a study whose trials end in the same order repeats.

    Args:
        name: One of random, sobol, grid, tpe, nsga2, gp.
        space: The search space.
        seed: The study's.
        number: Of the trial that will be asked for.
        trials: How many trials the study shall have.
    """
    own_seed = _derived_seed(seed, number)
    match name:
        case "sobol":
            return SobolSampler(space, seed)
        case "tpe" | "gp" if number < _SMALLEST_SEARCH:
            return SobolSampler(space, seed)
        case "tpe":
            return _tpe(own_seed)
        case "nsga2":
            return NSGAIISampler(seed=own_seed, population_size=_population(trials))
        case "gp":
            return GPSampler(
                seed=own_seed, n_startup_trials=_SMALLEST_SEARCH, warn_independent_sampling=False
            )
        case _:
            return RandomSampler(seed=own_seed)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps to itself what Optuna warns of: experimental parts, infinite values, what is set twice."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.filterwarnings("ignore", message="The constraint value is ignored")
        warnings.filterwarnings("ignore", message="Clip non-finite values", category=UserWarning)
        yield


def _tpe(seed: int) -> TPESampler:
    """TPE that models parameters together, each branch of a conditional space on its own."""
    with quiet_optuna():  # `group` is experimental
        return TPESampler(
            seed=seed, n_startup_trials=_SMALLEST_SEARCH, multivariate=True, group=True
        )


def _population(trials: int) -> int:
    """NSGA-II's population: a quarter of the trials, so that there are a few generations."""
    smallest, largest = _POPULATION
    return max(smallest, min(largest, trials // 4))


def _derived_seed(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
