"""From a spec to a study in the database: everything is checked before anything is created."""

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from studies.database import Database, prepare_schema, schema_version
from studies.errors import StudyExists, StudyNotFound
from studies.linear_vae import gaussian_nll
from studies.rate_distortion import shannon_rate
from studies.records import StudyRecord
from studies.study_records import create_study, get_study, update_study
from studies.tables import SCHEMA_VERSION
from sweeps.artifact_store import open_store
from sweeps.errors import SweepError
from sweeps.optuna_store import create_optuna_study
from sweeps.samplers import choose_sampler
from sweeps.space import Space
from sweeps.spec import Spec, changes
from sweeps.storage import artifacts_url
from sweeps.versions import code_version, package_versions
from vae_models.config import LEAST_LOG_SIGMA, ModelConfig
from vae_models.data import DataSet, load_data
from vae_models.likelihood_fit import refuse_unfit
from vae_models.likelihood_kinds import MSE_SIGMA2

_WITHOUT_FILES = ("digits", "gaussian", "photos", "sprites")

REFERENCE_SHARE = 0.05
"""The share of the data's variance that is left at the hypervolume's reference rate."""


def prepare_study(spec: Spec, db: Database) -> StudyRecord:
    """The study of a spec: made when it is new, taken up where it fits.

    Args:
        spec: the validated spec.
        db: the database; its tables are made when they are missing.

    Raises:
        DataError: the data set is missing or unreadable.
        ConfigError: a likelihood of the spec cannot have the data.
        SweepError: the study exists and its trials would not compare with those of this spec, or
            its files cannot be written.
        StorageError: the database cannot be made or reached.
    """
    data = load_data(spec.data)
    check_data(spec, data)
    record = _study_record(spec, db, data)
    open_store(_artifacts_url(db, record)).check()
    prepare_schema(db)
    try:
        existing = get_study(db, spec.study.name)
    except StudyNotFound:
        create_optuna_study(db, db.url, spec)
        with suppress(StudyExists):  # another `rdsweep run` of the same spec was quicker
            return create_study(db, record)
        existing = get_study(db, spec.study.name)
    _refuse_mixing(existing, record)
    update_study(db, record)
    return get_study(db, spec.study.name)


def _artifacts_url(db: Database, record: StudyRecord) -> str:
    """Where the study's files are already, or where they are to go."""
    if schema_version(db) == SCHEMA_VERSION:
        with suppress(StudyNotFound):
            return get_study(db, record.name).artifacts_url
    return record.artifacts_url


def check_data(spec: Spec, data: DataSet) -> None:
    """Passes if every trial of a spec can be trained and measured on the data.

    Raises:
        ConfigError: a likelihood of the spec cannot have the data.
        SweepError: the held-out split is too small.
    """
    for likelihood in spec.likelihoods:
        refuse_unfit(ModelConfig(likelihood=likelihood), data)
    _check_heldout(data)


def _check_heldout(data: DataSet) -> None:
    if len(data.heldout) >= 2:
        return
    message = (
        "The held-out split must have two examples or more to evaluate on, but "
        f"{data.name!r} leaves {len(data.heldout)} of {len(data.train) + len(data.heldout)}; "
        "raise data.heldout_fraction."
    )
    raise SweepError(message)


def _refuse_mixing(existing: StudyRecord, wanted: StudyRecord) -> None:
    problems: Sequence[str] = changes(existing.spec, wanted.spec)
    if problems:
        raise SweepError("\n".join(problems))
    if existing.data["checksum"] != wanted.data["checksum"]:
        message = (
            f"The data must stay the same within study {existing.name!r}, but its checksum was "
            f"{existing.data['checksum'][:12]} and is now {wanted.data['checksum'][:12]}; "
            "give the study a new name with --set study.name=…"
        )
        raise SweepError(message)


def _study_record(spec: Spec, db: Database, data: DataSet) -> StudyRecord:
    document = spec.to_dict()
    del document["study"]["storage"]  # it may hold a password, and the database may move
    space = Space(spec, data.pixels, len(data.train))
    return StudyRecord(
        name=spec.study.name,
        spec=document,
        spec_hash=spec.hash,
        distortion=spec.study.distortion,
        trials_wanted=spec.study.trials,
        sampler=choose_sampler(spec.study.sampler, space, spec.study.trials).name,
        data=describe_data(spec, data),
        spectrum=tuple(float(value) for value in data.spectrum),
        rate_reference_nats=reference_rate(data),
        distortion_reference=reference_distortion(spec, data),
        artifacts_url=artifacts_url(db, spec.study.artifacts),
        code_version=code_version(),
        packages=package_versions(),
        created_at=time.time(),
    )


def describe_data(spec: Spec, data: DataSet) -> dict[str, object]:
    """What the record keeps of a data set: name, place, sizes, shape, binarisation, checksum."""
    place = Path(spec.data.root).expanduser().absolute()
    return {
        "root": None if spec.data.name in _WITHOUT_FILES else str(place),
        "name": data.name,
        "train_size": len(data.train),
        "heldout_size": len(data.heldout),
        "image_shape": list(data.image_shape),
        "binarisation": data.binarisation,
        "peak": data.peak,
        "checksum": data.checksum,
        "mean_se": data.mean_se,
        "skipped": list(data.skipped),
    }


def reference_rate(data: DataSet) -> float:
    """The hypervolume's reference rate, in nats per example: fixed by the data alone.

    The rate at which a Gaussian source with the data's covariance keeps 5% of its variance as
    squared error (theory: reverse water-filling).
    """
    return shannon_rate(data.spectrum, REFERENCE_SHARE * float(data.spectrum.sum()))


def reference_distortion(spec: Spec, data: DataSet) -> float:
    """The hypervolume's reference distortion: what a code of zero rate reaches on held-out data.

    For `se` the squared error to the training mean. For `nll` the NLL in nats of a zero-rate code
    under the likelihood of the study, the largest of them where it has several:

    - ``gaussian``, ``mse``: the mean with that variance (the largest of a search; 1/2 for mse);
    - ``gaussian_learned``, ``gaussian_optimal``, ``gaussian_pixel``: the mean with its own mean
      squared error v as variance, (N/2)(1 + ln 2πv), v not below what can be learned;
    - ``laplace``: the mean with scale √v: N(1 + ln 2√v) bounds its NLL, as E|x − μ| ≤ √v;
    - ``continuous_bernoulli``: 0, the uniform density on [0, 1]^N;
    - ``beta``: the uniform density on its support, N ln(256/255);
    - ``bernoulli``, ``bce``: the mean image;
    - ``discretized_logistic``, ``categorical256``: N ln 256, every level as likely.
    """
    if spec.study.distortion == "se":
        return data.mean_se
    return max(_zero_rate_nats(likelihood, spec, data) for likelihood in spec.likelihoods)


def _zero_rate_nats(likelihood: str, spec: Spec, data: DataSet) -> float:
    pixels = data.pixels
    variance = max(data.mean_se / pixels, math.exp(2 * LEAST_LOG_SIGMA))
    match likelihood:
        case "gaussian":
            return gaussian_nll(data.mean_se, max(spec.sigma2s), pixels)
        case "mse":
            return gaussian_nll(data.mean_se, MSE_SIGMA2, pixels)
        case "laplace":
            return pixels * (1 + math.log(2 * math.sqrt(variance)))
        case "continuous_bernoulli":
            return 0.0
        case "beta":
            return pixels * math.log(256 / 255)
        case "bernoulli" | "bce":
            return float(data.zero_rate_bernoulli_nats or 0.0)
        case "discretized_logistic" | "categorical256":
            return pixels * math.log(256)
    return gaussian_nll(data.mean_se, variance, pixels)
