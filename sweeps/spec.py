"""The spec of a sweep: read, validated and normalised, before anything is created.

Free of torch, Optuna and SQLAlchemy, so that a mistake is told in milliseconds.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, Self, TypeVar, final

from pydantic import BaseModel, ConfigDict, ValidationError

from sweeps.errors import SpecError
from sweeps.fields import FIELDS, SECTIONS
from sweeps.settings import Fixed, Setting
from sweeps.settings_reader import SettingsReader
from sweeps.spec_changes import changes, comparable
from sweeps.spec_document import read_document
from sweeps.spec_rules import broken_rules
from sweeps.spec_sections import RunSpec, StudySpec, section_problems, unknown_keys
from vae_models.data_config import DataConfig
from vae_models.errors import ConfigError
from vae_models.evaluation_config import EvaluationConfig

__all__ = ["Spec", "changes", "load_spec"]

Section = TypeVar("Section", StudySpec, RunSpec)
Config = TypeVar("Config", DataConfig, EvaluationConfig)


@final
class Spec(BaseModel):
    """A valid spec.

    Attributes:
        study: How the study is called, stored and searched.
        data: The data of all its trials.
        settings: What each field of a trial can be, by its name; fields that no trial reads are
            left out. A field comes before those that depend on it.
        evaluation: What is measured of a trained model.
        run: With what the trials are trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: StudySpec
    data: DataConfig
    settings: Mapping[str, Setting]
    evaluation: EvaluationConfig
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
        evaluation = _evaluation(document, problems)
        run = _section(RunSpec, document, "run", problems)
        problems.extend(broken_rules(study, data, settings))
        if problems or study is None or data is None or evaluation is None or run is None:
            raise SpecError(problems)
        return cls(study=study, data=data, settings=settings, evaluation=evaluation, run=run)

    def to_dict(self) -> dict[str, Any]:
        """The sections with every value that counts, of types that TOML and JSON know."""
        return {
            "study": self.study.model_dump(),
            "data": _plain_data(self.data),
            **{section: self._fixed(section) for section in SECTIONS},
            "evaluation": self.evaluation.to_dict(),
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

    @property
    def largest_latent_dim(self) -> int:
        """The most latents that a trial can have."""
        return max(int(str(value)) for value in self.settings["latent_dim"].bounds)

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
    if isinstance(table, Mapping) and "name" not in table:
        problems.append(
            'data.name: must be given, but got nothing; write name = "digits" under [data].'
        )
        return None
    return _config(DataConfig, document, "data", problems)


def _evaluation(document: Mapping[str, Any], problems: list[str]) -> EvaluationConfig | None:
    return _config(EvaluationConfig, document, "evaluation", problems)


def _config(
    kind: type[Config], document: Mapping[str, Any], section: str, problems: list[str]
) -> Config | None:
    table = document.get(section, {})
    known = {field.name for field in fields_of(kind)}
    if not isinstance(table, Mapping):
        return None
    try:
        return kind(**{key: value for key, value in table.items() if key in known})
    except ConfigError as error:
        problems.append(f"{_key(section, known, str(error))}: {error}")
        return None


def _key(section: str, known: Collection[str], problem: str) -> str:
    """The dotted key that a problem is about: the first that it names in backticks."""
    named = re.search(r"`([^`]*)`", problem)
    words = re.findall(r"\w+", named[1]) if named else []
    return next((f"{section}.{word}" for word in words if word in known), section)


def _plain_data(data: DataConfig) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields_of(DataConfig)}
    given = {key: value for key, value in asdict(data).items() if value != defaults[key]}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
