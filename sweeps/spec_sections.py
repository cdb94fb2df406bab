"""The sections of a spec that say how a study is run: [study] and [run]."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields as fields_of
from typing import Annotated, Any, Literal, final, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from studies.masked_urls import masked
from sweeps.fields import FIELDS, SECTIONS
from sweeps.launcher import LAUNCHERS, LauncherKind
from sweeps.wording import ended, nearest, shown
from vae_models.data_config import DataConfig
from vae_models.evaluation_config import EvaluationConfig

__all__ = [
    "SAMPLERS",
    "RunSpec",
    "SamplerName",
    "StudySpec",
    "section_problems",
    "storage_problem",
    "unknown_keys",
]

SamplerName = Literal["auto", "random", "grid", "sobol", "tpe", "nsga2", "gp"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)

_LONGEST_NAME = 100
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:///(?P<path>.+)")
_POSTGRESQL = re.compile(r"postgres(ql)?(\+psycopg)?://[^/]*/(?P<database>[^/?]+)(\?.*)?")
_SCHEMES = ("sqlite", "postgresql+psycopg")


def _fit_name(name: str) -> str:
    unfit = _UNFIT.findall(name)
    if unfit:
        raise _refusal(f"must be fit for a file name, but got {name!r} with {unfit[0]!r} in it")
    if not name.strip() or name != name.strip():
        raise _refusal(f"must neither be empty nor begin or end with a space, but got {name!r}")
    if name[0] in ".-" or name[-1] == ".":
        raise _refusal(f"must not begin with a dot or a dash nor end with a dot, but got {name!r}")
    if len(name) > _LONGEST_NAME:
        raise _refusal(f"must have at most {_LONGEST_NAME} characters, but got {len(name)}")
    return name


def _fit_storage(url: str) -> str:
    problem = storage_problem(url)
    if problem is not None:
        raise _refusal(problem)
    if masked(url) != url:
        raise _refusal(
            "must hold no password, as whoever reads the spec would read it, but got "
            f"{masked(url)!r}; leave it to ~/.pgpass, or give the URL by "
            "$RDSWEEP_STORAGE or --storage"
        )
    return url


def _fit_gpus(gpus: float) -> float:
    if gpus == -1 or 0 <= gpus <= 1 or (gpus > 0 and gpus.is_integer()):
        return gpus
    raise _refusal(f"must be -1, 0, a fraction of 1 or a whole number, but got {gpus:g}")


def _fit_parameters(table: object) -> object:
    kinds = (str, int, float, bool)
    if isinstance(table, Mapping) and all(isinstance(value, kinds) for value in table.values()):
        return table
    must = 'must be a table of texts and numbers, such as { partition = "gpu" }'
    raise _refusal(f"{must}, but got {shown(table)}")


def _fit_pack(size: object) -> object:
    if size == "auto" or (isinstance(size, int) and not isinstance(size, bool) and size >= 1):
        return size
    raise _refusal(f'must be "auto" or a whole number of at least 1, but got {shown(size)}')


def _refusal(problem: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{problem}", {"problem": problem})


def storage_problem(url: str) -> str | None:
    """What is wrong with a database URL, to be read after its key; None for a good one."""
    must = "must be sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    got = repr(masked(url))
    found = _SQLITE.fullmatch(url)
    if found is not None:
        memory = ":memory:" in found["path"] or "mode=memory" in found["path"]
        return f"{must}, but got {got}; workers cannot share a memory" if memory else None
    if _POSTGRESQL.fullmatch(url):
        return None
    scheme = url.partition(":")[0]
    if scheme.startswith("sqlite"):
        hint = "; write three slashes and a file name, such as sqlite:///rdsweep.db"
    elif scheme.startswith("postgres"):
        hint = "; name the database, such as postgresql+psycopg://me@localhost/sweeps"
    elif "://" not in url and url.strip():
        hint = f"; did you mean sqlite:///{masked(url)}?"
    else:
        hint = nearest(scheme, _SCHEMES)
    return f"{must}, but got {got}{hint}"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@final
class StudySpec(_Section):
    """[study]: what the study is called, where it is stored, and how it searches.

    Attributes:
        name: Its name, also of its files and of the Optuna study.
        storage: The database URL.
        trials: How many trials it shall have.
        sampler: One of `SAMPLERS`.
        distortion: Which distortion is minimised beside the rate.
        seed: Of the sampler.
        artifacts: Where large files go, a directory, file:///DIRECTORY or s3://BUCKET/PREFIX; empty
            for a directory beside the database.
        max_attempts: How many attempts may end without a result before a trial counts as failed.
        dedupe: Whether a trial takes over the results of a finished one that is the same training
            up to the scale of its loss (`sweeps.equivalence`), instead of training again.
    """

    name: Annotated[str, AfterValidator(_fit_name)]
    storage: Annotated[str, AfterValidator(_fit_storage)] = "sqlite:///rdsweep.db"
    trials: Annotated[int, Field(ge=1)] = 64
    sampler: SamplerName = "auto"
    distortion: Literal["se", "nll"] = "se"
    seed: Annotated[int, Field(ge=0)] = 0
    artifacts: str = ""
    max_attempts: Annotated[int, Field(ge=1)] = 3
    dedupe: bool = False


@final
class RunSpec(_Section):
    """[run]: with what the trials are trained; it has no part in their results.

    Attributes:
        launcher: How workers are started: "local", "ray", "slurm" or "manual".
        workers: Number of worker processes; 0 for one per GPU, else one per physical core.
        device: "auto", "cpu", "mps", "cuda" or one such as "cuda:1".
        threads: CPU threads of each worker; 0 to share the cores out.
        pack: How many trials each worker trains at a time; "auto" for as many as its device does
            with profit.
        precision: Of the matrix products in training: "float32", "bfloat16", or "auto" for the
            second where the device has units for it.
        gpus: GPUs of each worker, a fraction for a shared one (ray, slurm); 0 for none, -1 for one
            where `device` is not the CPU.
        memory_gib: Main memory of each worker (ray, slurm); 0 asks for none.
        lease_seconds: How long a worker may be silent before another takes its trial over.
        checkpoint_seconds: The least time between two checkpoints of a trial, which are written
            at the ends of epochs.
        time_limit_minutes: After which a worker's job ends (slurm, manual); 0 for no limit.
        grace_seconds: How long before that it is warned.
        ray_address: Of the Ray cluster; empty for the one at hand, else a local one.
        slurm: Further parameters of sbatch, as { partition = "gpu" }.
    """

    launcher: LauncherKind = "local"
    workers: Annotated[int, Field(ge=0)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    pack: Annotated[int | Literal["auto"], BeforeValidator(_fit_pack)] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gpus: Annotated[float, Field(allow_inf_nan=False), AfterValidator(_fit_gpus)] = -1.0
    memory_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    lease_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    checkpoint_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    time_limit_minutes: Annotated[int, Field(ge=0)] = 0
    grace_seconds: Annotated[int, Field(ge=0)] = 120
    ray_address: str = ""
    slurm: Annotated[dict[str, str | int | float | bool], BeforeValidator(_fit_parameters)] = (
        Field(default_factory=dict)
    )


_KEYS: Mapping[str, tuple[str, ...]] = {
    "study": tuple(StudySpec.model_fields),
    "data": tuple(field.name for field in fields_of(DataConfig)),
    **{name: tuple(f.name for f in FIELDS.values() if f.section == name) for name in SECTIONS},
    "evaluation": tuple(field.name for field in fields_of(EvaluationConfig)),
    "run": tuple(RunSpec.model_fields),
    "space": tuple(FIELDS),
}
"""The sections, and the keys that each of them knows."""


def unknown_keys(document: Mapping[str, Any]) -> Iterator[str]:
    """A line for every section and key that no spec has, with the one that was probably meant."""
    for section, table in document.items():
        if section not in _KEYS:
            hint = nearest(section, tuple(_KEYS)) or _home_hint(section)
            names = ", ".join(f"[{name}]" for name in _KEYS)
            yield ended(f"{section}: a section must be one of {names}, but got {section!r}{hint}")
        elif not isinstance(table, Mapping):
            yield f"{section}: must be a section, but got {shown(table)}; write [{section}] above its keys."
        else:
            yield from (_unknown(section, key) for key in table if key not in _KEYS[section])


def _unknown(section: str, key: str) -> str:
    hint = _home_hint(key) or nearest(key, _KEYS[section]) or _distant_hint(key)
    names = ", ".join(_KEYS[section])
    must = f"a key of [{section}] must be one of {names}"
    return ended(f"{section}.{key}: {must}, but got {key!r}{hint}")


def _home_hint(key: str) -> str:
    homes = [name for name, keys in _KEYS.items() if name != "space" and key in keys]
    return f"; did you mean to put it under [{homes[0]}]?" if homes else ""


def _distant_hint(key: str) -> str:
    """The section and key that were meant, for a misspelt key in the wrong section."""
    for section, keys in _KEYS.items():
        near = nearest(key, keys) if section != "space" else ""
        if near:
            return f"{near.removesuffix('?')} under [{section}]?"
    return ""


def section_problems(section: str, error: ValidationError) -> Iterator[str]:
    """A line for every problem that pydantic found in a section; unknown keys are left out."""
    for detail in error.errors(include_url=False):
        if detail["type"] != "extra_forbidden":
            key = ".".join(str(part) for part in detail["loc"])
            yield ended(f"{section}.{key}: {_sentence(key, detail)}")


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sampler": SAMPLERS,
    "distortion": ("se", "nll"),
    "launcher": LAUNCHERS,
    "precision": ("auto", "float32", "bfloat16"),
}
"""What the keys with a fixed set of names can be."""

_KINDS: Mapping[str, str] = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a finite number",
    "finite_number": "a finite number",
}
"""What pydantic found missing, in words."""


def _sentence(key: str, detail: ErrorDetails) -> str:
    got, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return f'must be given, but got nothing; write {key} = "…" under its section'
        case "refused":
            return str(context["problem"])
        case "literal_error":
            names = str(context["expected"])
            return f"must be one of {names}, but got {shown(got)}{_near_choice(key, got)}"
        case "greater_than_equal":
            return f"`{key} >= {context['ge']}` must hold, but got {key}={got!r}"
        case "greater_than":
            return f"`{key} > {context['gt']:g}` must hold, but got {key}={got!r}"
        case "string_pattern_mismatch":
            return f'must be "auto", "cpu", "mps", "cuda" or "cuda:N", but got {shown(got)}'
        case "string_type":
            if key == "storage":  # what was got may hold a password
                return f"must be a text in quotes, but got a {type(got).__name__}"
            return f'must be a text in quotes, but got {shown(got)}; write "{got}"'
        case kind if kind in _KINDS:
            return f"must be {_KINDS[kind]}, but got {shown(got)}{_number_hint(got)}"
    return f"{detail['msg'].lower()}, but got {shown(got)}"


def _near_choice(key: str, got: object) -> str:
    return nearest(str(got), _CHOICES[key])


def _number_hint(got: object) -> str:
    text = str(got).strip()
    is_number = isinstance(got, str) and text.replace(".", "", 1).isdigit()
    return f"; write {text} without quotes" if is_number else ""
