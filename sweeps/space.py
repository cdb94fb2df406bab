"""The search space of a spec: what is suggested, under which condition, and what it means."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, final

from sweeps.equivalence import equivalence_of, fixed_sigma2, initial_sigma2
from sweeps.errors import SpaceError
from sweeps.fields import BETA_NAMES, FIELDS, SECTIONS, Value, plain
from sweeps.settings import LARGEST_GRID, Choice, Fixed, Range, Setting
from sweeps.spec import Spec
from sweeps.tree import holds, tree_points, tree_size
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.conversion import weights_to_paste
from vae_models.objective import (
    beta_from_norm,
    beta_norm,
    canonical_beta,
    level,
    raw_weight_of,
    weights_of,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

    from studies.records import NewTrial

__all__ = ["Parameters", "Space", "Suggestion", "batch_in_force", "fingerprint"]

Parameters = dict[str, Any]
"""Suggested values by parameter name, of types that JSON knows."""


@final
@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What a sampler suggested, and the trial that it means.

    Attributes:
        parameters: As suggested; beta under the name of its unit.
        config: The whole trial, beta in canonical units.
    """

    parameters: Parameters
    config: TrialConfig


@final
class Space:
    """The search space of a spec on data of N pixels.

    A parameter is suggested only where its condition holds, so the space is a tree: the fields
    that others depend on come first.

    Args:
        spec: The spec.
        pixels: N = C·H·W of the data; raw and normalised units of beta depend on it.
        examples: Size of the training split, which no batch exceeds; None if it is not known.
    """

    def __init__(self, spec: Spec, pixels: int, examples: int | None = None) -> None:
        self._settings = spec.settings
        self._pixels = pixels
        self._examples = examples

    @cached_property
    def size(self) -> int | None:
        """The number of different trials; None if there are infinitely many."""
        return tree_size(self._settings, lambda setting: setting.size)

    @cached_property
    def grid_size(self) -> int | None:
        """The number of points of its grid; None where a range has neither step nor points."""
        return tree_size(self._settings, lambda setting: setting.grid_size)

    @property
    def parameters(self) -> dict[str, Setting]:
        """Everything that can be suggested, by parameter name."""
        return {parameter_name(n, setting): setting for n, setting in self._searched().items()}

    def grid(self) -> list[Parameters]:
        """Every point of the grid, the last parameter changing fastest.

        Raises:
            SpaceError: A range has neither step nor points, or the grid is too large.
        """
        return self._listed(self.grid_size, lambda setting: setting.grid_points())

    def points(self) -> list[Parameters]:
        """Every point of a discrete space, the last parameter changing fastest.

        Raises:
            SpaceError: The space is continuous or too large.
        """
        return self._listed(self.size, lambda setting: setting.points())

    def suggest(self, trial: "BaseTrial") -> Suggestion:
        """Asks an Optuna trial for every parameter whose condition holds."""
        values: dict[str, Value] = {}
        parameters: Parameters = {}
        for name, setting in self._settings.items():
            if not holds(name, values):
                continue
            if isinstance(setting, Fixed):
                values[name] = setting.value
            else:
                values[name] = _ask(trial, parameter_name(name, setting), setting)
                parameters[parameter_name(name, setting)] = plain(values[name])
        return Suggestion(parameters=parameters, config=self._config(values))

    def new_trial(self, number: int, suggestion: Suggestion) -> "NewTrial":
        """The queue's row for a suggestion."""
        from studies.records import NewTrial

        config = suggestion.config
        model, objective, train = config.model, config.objective, config.train
        return NewTrial(
            number=number,
            parameters=suggestion.parameters,
            config=config.to_dict(),
            **self._beta_columns(config),
            latent_dim=model.latent_dim,
            regulariser=objective.regulariser,
            reduction=objective.reduction,
            annealing=objective.annealing,
            likelihood=model.likelihood,
            prior=model.prior,
            posterior=model.posterior,
            family=model.family,
            sigma2=initial_sigma2(model),
            learning_rate=train.learning_rate,
            batch_size=train.batch_size,
            epochs=train.epochs,
            seed=train.seed,
            equivalence=equivalence_of(config),
        )

    def _beta_columns(self, config: TrialConfig) -> dict[str, Any]:
        """Beta in every unit, the level and the weights to paste; None where none is read."""
        beta = config.objective.beta
        if not config.objective.reads_beta:
            return dict.fromkeys(("beta", "raw_weight", "beta_norm", "level", "weights"))
        latents, sigma2 = config.model.latent_dim, fixed_sigma2(config.model)
        batch = batch_in_force(config.train.batch_size, self._examples)
        sizes = {"pixels": self._pixels, "latents": latents, "batch": batch}
        return {
            "beta": beta,
            "raw_weight": raw_weight_of(config.objective.reduction, beta, **sizes),
            "beta_norm": beta_norm(beta, pixels=self._pixels, latents=latents),
            "level": None if sigma2 is None else level(beta, sigma2),
            "weights": dict(weights_to_paste(beta, **sizes)),
        }

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Optuna's distribution of everything that can be suggested, by parameter name."""
        return {name: _distribution(setting) for name, setting in self.parameters.items()}

    def encode(self, point: Parameters) -> dict[str, str | int | float]:
        """A point as Optuna stores it."""
        return {n: encode(tuple(v) if isinstance(v, list) else v) for n, v in point.items()}

    def in_canonical_units(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values by field, with canonical beta for that of the spec's unit."""
        return {**values, "beta": self._canonical_beta(values)} if "beta" in values else {**values}

    def _config(self, values: Mapping[str, Value]) -> TrialConfig:
        sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for name, value in self.in_canonical_units(values).items():
            sections[FIELDS[name].section][name] = value
        return TrialConfig(
            model=ModelConfig(**sections["model"]),
            objective=ObjectiveConfig(**sections["objective"]),
            train=TrainConfig(**sections["train"]),
        )

    def _canonical_beta(self, values: Mapping[str, Value]) -> float:
        beta, latents, batch = (
            cast("Any", values[name]) for name in ("beta", "latent_dim", "batch_size")
        )
        sizes = {"pixels": self._pixels, "latents": latents}
        match self._settings["beta"].unit:
            case "raw":
                batch = batch_in_force(batch, self._examples)
                pair = weights_of(str(values["reduction"]), beta, batch=batch, **sizes)
                return canonical_beta(pair)
            case "beta_norm":
                return beta_from_norm(beta, **sizes)
        return float(beta)

    def _searched(self) -> dict[str, Setting]:
        return {
            n: setting for n, setting in self._settings.items() if not isinstance(setting, Fixed)
        }

    def _listed(
        self, size: int | None, points_of: Callable[[Setting], tuple[Value, ...] | None]
    ) -> list[Parameters]:
        if size is None or size > LARGEST_GRID:
            got = "infinitely many" if size is None else f"{size:,}"
            raise SpaceError(
                f"The points of a space must be at most {LARGEST_GRID:,} to be listed, but got "
                f"{got}; give its ranges steps or points, or choose another sampler."
            )
        return [self._parameters(chosen) for chosen in tree_points(self._settings, points_of)]

    def _parameters(self, chosen: Mapping[str, Value]) -> Parameters:
        """What is searched among the values of a point."""
        return {
            parameter_name(name, setting): plain(chosen[name])
            for name, setting in self._searched().items()
            if name in chosen
        }


def batch_in_force(batch: int, examples: int | None) -> int:
    """The examples of a training step: no more than the training split has."""
    return batch if examples is None else min(batch, examples)


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """The same text for parameters that mean the same trial of one study.

    Numbers count to twelve digits: a stepped range gives 0.30000000000000004 and 0.3 alike.
    """
    return json.dumps({name: _rounded(parameters[name]) for name in sorted(parameters)})


def encode(value: Value) -> str | int | float:
    """A choice as Optuna can store it: a list of widths becomes its JSON."""
    return json.dumps(list(value)) if isinstance(value, tuple) else value


def parameter_name(field: str, setting: Setting) -> str:
    """The name of a field's parameter: the field's own, or that of beta's unit."""
    return BETA_NAMES[setting.unit] if field == "beta" else field


def _ask(trial: "BaseTrial", name: str, setting: Setting) -> Value:
    if isinstance(setting, Range) and setting.whole:
        low, high, step = int(setting.low), int(setting.reach), int(setting.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=setting.log)
    if isinstance(setting, Range):
        return trial.suggest_float(
            name, setting.low, setting.reach, step=setting.step, log=setting.log
        )
    choices = cast("Choice", setting).choices
    encoded = [encode(choice) for choice in choices]
    return choices[encoded.index(cast("str", trial.suggest_categorical(name, encoded)))]


def _distribution(setting: Setting) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(setting, Range) and setting.whole:
        low, high, step = int(setting.low), int(setting.reach), int(setting.step or 1)
        return IntDistribution(low, high, log=setting.log, step=step)
    if isinstance(setting, Range):
        return FloatDistribution(setting.low, setting.reach, log=setting.log, step=setting.step)
    return CategoricalDistribution([encode(choice) for choice in cast("Choice", setting).choices])


def _rounded(value: object) -> object:
    return float(f"{value:.12g}") if isinstance(value, float) else value
