"""What must hold between the settings of a spec: one line for each rule that it breaks.

A space is a product: every value of one field meets every value of the others, so a rule that one
combination breaks is broken.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeps.fields import FIELDS, SECTIONS, Value
from sweeps.setting_checks import key_of, objection_to
from sweeps.settings import LARGEST_GRID, Choice, Range, Setting
from sweeps.spec_sections import StudySpec
from sweeps.tree import holds, tree_size
from vae_models.config import ModelConfig, ObjectiveConfig, TrialConfig
from vae_models.data_config import DataConfig
from vae_models.errors import ConfigError
from vae_models.likelihood_kinds import LIKELIHOOD_MEASURES, UNIT_INTERVAL_LIKELIHOODS

__all__ = ["broken_rules"]

Settings = Mapping[str, Setting]

_TOGETHER: Sequence[Sequence[str]] = (
    ("latent_dim", "posterior"),
    ("prior", "posterior"),
    ("regulariser", "likelihood"),
    ("group_size", "regulariser", "posterior", "prior"),
)
"""Fields whose values must go together, the one that is told first; `vae_models` judges."""

_STAND_INS: Mapping[str, Any] = {
    "prior_scale": 1.0,
    "target_se": 1.0,
    "milestones": (0.5,),
    "milestone_weights": (1.0,),
}
"""Values of required fields, where the others are judged without them."""


def broken_rules(
    study: StudySpec | None, data: DataConfig | None, settings: Settings
) -> Iterator[str]:
    """A line for every rule between fields or sections that the settings break.

    Args:
        study: The section; None if it is wrong by itself.
        data: The section; None if it is wrong by itself.
        settings: Of every field that can count.
    """
    yield from _torn_pairs(settings)
    yield from _lonely_batches(settings)
    if study is not None and study.sampler == "grid":
        yield from _grid_problems(settings)
    if study is not None and study.distortion == "nll":
        yield from _measure_problems(settings["likelihood"].bounds)
    if data is not None and data.name == "gaussian":
        yield from _unbounded_data(settings)


def _torn_pairs(settings: Settings) -> Iterator[str]:
    told: set[str] = set()
    for names in _TOGETHER:
        if any(n in settings and objection_to(n, settings) for n in names):
            continue  # told already
        objection = next((o for o in _objections(names, settings) if o not in told), None)
        if objection is not None:
            told.add(objection)
            key = key_of(names[0], settings[names[0]]) if names[0] in settings else names[0]
            yield f"{key}: {objection}{_product_hint(names, settings)}"


def _objections(names: Sequence[str], settings: Settings) -> Iterator[str]:
    """What `vae_models` says against each combination of values, one field deciding on others."""
    known = [name for name in FIELDS if name in names and name in settings]
    for values in itertools.product(*(settings[name].bounds for name in known)):
        chosen = dict(zip(known, values, strict=True))
        try:
            _trial(chosen)
        except ConfigError as error:
            yield str(error)


def _trial(chosen: Mapping[str, Value]) -> TrialConfig:
    """A trial with these values, those left out that it would not read."""
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    defaults = {name: field.default for name, field in FIELDS.items() if field.default is not None}
    given = {**defaults, **chosen}
    for name, field in FIELDS.items():
        value = chosen.get(name, _STAND_INS.get(name))
        if value is not None and holds(name, given):
            sections[field.section][name] = value
    return TrialConfig(
        model=ModelConfig(**sections["model"]), objective=ObjectiveConfig(**sections["objective"])
    )


def _product_hint(names: Sequence[str], settings: Settings) -> str:
    searched = [name for name in names if isinstance(settings.get(name), Choice | Range)]
    if not searched:
        return ""
    return f" Every combination is tried: narrow {' or '.join(searched)}, or make two sweeps."


def _lonely_batches(settings: Settings) -> Iterator[str]:
    sizes = settings["batch_size"]
    if "wae_mmd" in settings["regulariser"].bounds and 1 in sizes.bounds:
        yield (
            f"{key_of('batch_size', sizes)}: `batch_size >= 2` must hold for regulariser "
            "'wae_mmd', which compares the draws of a batch, but got batch_size=1."
        )


def _grid_problems(settings: Settings) -> Iterator[str]:
    for name, setting in settings.items():
        if setting.grid_size is None:
            yield (
                f"space.{name}: a range needs a step or a number of points for the grid "
                f"sampler, but got neither; add points = 5."
            )
    size = tree_size(settings, lambda setting: setting.grid_size)
    if size is not None and size > LARGEST_GRID:
        yield (
            f"study.sampler: a grid must have at most {LARGEST_GRID:,} points, but got {size:,}; "
            'give the ranges fewer points, or write "sobol".'
        )


def _measure_problems(likelihoods: Sequence[Value]) -> Iterator[str]:
    measures = sorted({LIKELIHOOD_MEASURES[str(name)] for name in likelihoods})
    if len(measures) > 1:
        got = ", ".join(repr(name) for name in likelihoods)
        yield (
            'study.distortion: "nll" needs likelihoods that share an axis, but got '
            f"likelihood = [{got}]: nats of {' and of '.join(measures)} do not compare; "
            'write distortion = "se", or keep one kind of likelihood.'
        )


def _unbounded_data(settings: Settings) -> Iterator[str]:
    setting = settings["likelihood"]
    unfit = [name for name in setting.bounds if name in UNIT_INTERVAL_LIKELIHOODS]
    if unfit:
        yield (
            f"{key_of('likelihood', setting)}: {unfit[0]!r} needs pixels between 0 and 1, but got "
            "data set 'gaussian', whose values are any numbers; write \"gaussian\"."
        )
