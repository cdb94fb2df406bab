"""The spec of a sweep: read, validated and normalised, before anything is created.

Free of torch, Optuna and SQLAlchemy, so that a mistake is told in milliseconds.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, Self, TypeVar, final

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeps.errors import SpecError
from sweeps.fields import FIELDS, SECTIONS, Value
from sweeps.settings import LARGEST_GRID, Fixed, Setting
from sweeps.settings_reader import SettingsReader
from sweeps.spec_changes import changes, comparable
from sweeps.spec_document import read_document
from sweeps.spec_sections import RunSpec, StudySpec, section_problems, unknown_keys
from sweeps.tree import tree_size
from vae_models.data_config import DataConfig
from vae_models.errors import ConfigError

__all__ = ["Spec", "changes", "load_spec"]

Section = TypeVar("Section", StudySpec, RunSpec)

_DENSITIES: Mapping[str, str] = {
    "gaussian": "a Gaussian density",
    "gaussian_learned": "a Gaussian density",
    "bernoulli": "Bernoulli probabilities",
}
"""What the NLL of a likelihood is measured in; only NLLs of the same measure compare."""


@final
class Spec(BaseModel):
    """A valid spec.

    Attributes:
        study: How the study is called, stored and searched.
        data: The data of all its trials.
        settings: What each field of a trial can be, by its name; fields that no trial reads are
            left out. A field comes before those that depend on it.
        run: With what the trials are trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: StudySpec
    data: DataConfig
    settings: Mapping[str, Setting]
    run: RunSpec

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The spec in the sections of a TOML file; inverts `to_dict`.

        Raises:
            SpecError: Something in it is wrong; all of it is named, a line each.
        """
        problems = list(unknown_keys(document))
        study = _section(StudySpec, document, "study", problems)
        data = _data(document, problems)
        settings = SettingsReader(problems).read(document)
        run = _section(RunSpec, document, "run", problems)
        if study is not None:
            problems.extend(_search_problems(study, settings))
        problems.extend(_data_problems(data, settings))
        if problems or study is None or data is None or run is None:
            raise SpecError(problems)
        return cls(study=study, data=data, settings=settings, run=run)

    def to_dict(self) -> dict[str, Any]:
        """The sections with every value that counts, of types that TOML and JSON know."""
        return {
            "study": self.study.model_dump(),
            "data": _plain_data(self.data),
            **{section: self._fixed(section) for section in SECTIONS},
            "run": self.run.model_dump(),
            "space": {name: setting.to_plain() for name, setting in self.searched.items()},
        }

    @property
    def searched(self) -> dict[str, Setting]:
        """The settings that differ between trials."""
        return {
            n: setting for n, setting in self.settings.items() if not isinstance(setting, Fixed)
        }

    @property
    def hash(self) -> str:
        """SHA-256 of what makes trials comparable: equal where `changes` has nothing to say."""
        text = json.dumps(comparable(self.to_dict()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def likelihoods(self) -> tuple[str, ...]:
        """The likelihoods that its trials can have."""
        return tuple(str(value) for value in self.settings["likelihood"].bounds)

    @property
    def sigma2s(self) -> tuple[float, ...]:
        """The decoder variances that decide: fixed, chosen, or the ends of a range."""
        setting = self.settings.get("sigma2")
        return () if setting is None else tuple(float(str(v)) for v in setting.bounds)

    def _fixed(self, section: str) -> dict[str, Any]:
        return {
            name: setting.to_plain()
            for name, setting in self.settings.items()
            if isinstance(setting, Fixed) and FIELDS[name].section == section
        }


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The spec in a TOML file.

    Args:
        path: The file.
        overrides: Lines such as ``train.epochs=5``, laid over the file.

    Raises:
        SpecError: Something in it is wrong; all of it is named, a line each.
    """
    document = read_document(path, overrides)
    try:
        return Spec.from_dict(document)
    except SpecError as error:
        raise SpecError(error.problems, Path(path).name) from None


def _section(
    kind: type[Section], document: Mapping[str, Any], name: str, problems: list[str]
) -> Section | None:
    table = document.get(name, {})
    if not isinstance(table, Mapping):
        return None  # `unknown_keys` has told that it is no section
    try:
        return kind.model_validate({k: v for k, v in table.items() if k in kind.model_fields})
    except ValidationError as error:
        problems.extend(section_problems(name, error))
        return None


def _data(document: Mapping[str, Any], problems: list[str]) -> DataConfig | None:
    table = document.get("data", {})
    if not isinstance(table, Mapping):
        return None
    known = {field.name for field in fields_of(DataConfig)}
    if "name" not in table:
        problems.append(
            'data.name: must be given, but got nothing; write name = "digits" under [data].'
        )
        return None
    try:
        return DataConfig(**{key: value for key, value in table.items() if key in known})
    except ConfigError as error:
        problems.append(f"{_data_key(str(error))}: {error}")
        return None


def _data_key(problem: str) -> str:
    """The dotted key that a problem of the data is about: the first that it names in backticks."""
    named = re.search(r"`([^`]*)`", problem)
    words = re.findall(r"\w+", named[1]) if named else []
    known = {field.name for field in fields_of(DataConfig)}
    return next((f"data.{word}" for word in words if word in known), "data")


def _plain_data(data: DataConfig) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields_of(DataConfig)}
    given = {key: value for key, value in asdict(data).items() if value != defaults[key]}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


def _search_problems(study: StudySpec, settings: Mapping[str, Setting]) -> Iterator[str]:
    if study.sampler == "grid":
        yield from _grid_problems(settings)
    if study.distortion == "nll":
        yield from _measure_problems(settings["likelihood"].bounds)


def _grid_problems(settings: Mapping[str, Setting]) -> Iterator[str]:
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
    measures = sorted({_DENSITIES[str(name)] for name in likelihoods})
    if len(measures) > 1:
        got = ", ".join(repr(name) for name in likelihoods)
        yield (
            'study.distortion: "nll" needs likelihoods that share an axis, but got '
            f"likelihood = [{got}]: nats of {' and of '.join(measures)} do not compare; "
            'write distortion = "se", or keep one kind of likelihood.'
        )


def _data_problems(data: DataConfig | None, settings: Mapping[str, Setting]) -> Iterator[str]:
    if data is None or data.name != "gaussian":
        return
    setting = settings["likelihood"]
    if "bernoulli" in setting.bounds:
        key = "model.likelihood" if isinstance(setting, Fixed) else "space.likelihood"
        yield (
            f"{key}: Bernoulli needs pixels between 0 and 1, but got data set 'gaussian', whose "
            'values are any numbers; write "gaussian".'
        )
