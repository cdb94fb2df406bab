"""The tables, all prefixed `rdsweep_`, beside Optuna's in one database and tied to none of them.

A foreign key to Optuna's tables would make its `delete_study` do nothing in silence, and its ids
are used again after a deletion; names and trial numbers are the only link. All timestamps are
floats, UTC seconds since 1970, by the database's own clock (`clock.now`).
"""

from __future__ import annotations

from math import isfinite
from typing import Annotated, Any, final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from studies.errors import RecordError
from studies.records import TRIAL_STATES

PREFIX = "rdsweep_"
VERSION_TABLE = PREFIX + "alembic_version"
SCHEMA_VERSION = "0003"


@final
class Finite(TypeDecorator[float]):
    """A double that refuses NaN and infinities: SQLite would store a NaN as NULL."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:  # noqa: ARG002
        """Returns the number to store, or raises `RecordError`."""
        if value is not None and not isfinite(value):
            raise RecordError("a column", "value", "isfinite(value)", repr(value))
        return value


@final
class SafeText(TypeDecorator[str]):
    """Text from anywhere, as a traceback: what UTF-8 or PostgreSQL refuses is escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Returns the text without NUL characters and lone surrogates."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", r"\x00")


Key = Annotated[int, mapped_column(Integer, primary_key=True)]
Name = Annotated[str, mapped_column(String(255))]
Count = Annotated[int, mapped_column(Integer)]
Large = Annotated[int, mapped_column(BigInteger)]
Number = Annotated[float, mapped_column(Finite)]
Nats = Annotated[float, mapped_column(Finite, comment="nats per example")]
SquaredError = Annotated[
    float, mapped_column(Finite, comment="squared error summed over pixels, per example")
]
Seconds = Annotated[float, mapped_column(Finite, comment="seconds")]
Timestamp = Annotated[float, mapped_column(Finite, comment="UTC seconds since 1970")]
Document = Annotated[dict[str, Any], mapped_column(JSON(none_as_null=True))]
Message = Annotated[str, mapped_column(SafeText)]


class Base(DeclarativeBase):
    """Holds the metadata; every constraint has a name, so that migrations can change it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


@final
class StudyRow(Base):
    """Studies, and who may ask the sampler at the moment."""

    __tablename__ = PREFIX + "studies"
    __table_args__ = (
        CheckConstraint("distortion in ('se', 'nll')", name="distortion"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    name: Mapped[Name] = mapped_column(unique=True, comment="also the Optuna study's name")
    spec: Mapped[Document] = mapped_column(comment="the whole normalised spec")
    spec_hash: Mapped[Name] = mapped_column(comment="hash of what makes trials comparable")
    distortion: Mapped[Name] = mapped_column(comment="distortion of the front: se or nll")
    trials_wanted: Mapped[Count]
    sampler: Mapped[Name]
    data: Mapped[Document] = mapped_column(comment="data set: name, checksum, sizes, shape")
    spectrum: Mapped[list[float]] = mapped_column(
        JSON(none_as_null=True),
        comment="eigenvalues of the data's covariance, descending, squared model units",
    )
    rate_reference_nats: Mapped[Nats] = mapped_column(
        comment="rate of the hypervolume's reference point, nats per example"
    )
    distortion_reference: Mapped[Number] = mapped_column(
        comment="distortion of the reference point, in the unit of the column distortion"
    )
    artifacts_url: Mapped[str] = mapped_column(
        Text, comment="directory or URL of checkpoints and other large files"
    )
    code_version: Mapped[Name]
    packages: Mapped[Document] = mapped_column(comment="package versions")
    sampler_worker: Mapped[Name | None] = mapped_column(comment="holder of the sampler lease")
    sampler_until: Mapped[Timestamp | None] = mapped_column(
        comment="end of the sampler lease, UTC seconds since 1970"
    )
    stop: Mapped[str | None] = mapped_column(
        String(16), comment="order to all workers: drain or now; null while they go on"
    )
    exhausted: Mapped[bool] = mapped_column(
        server_default=false(), comment="whether the space holds no setting that was not tried"
    )
    created_at: Mapped[Timestamp]


@final
class TrialRow(Base):
    """Trials: settings, state, lease and held-out metrics at beta = 1, with z ~ q(z|x)."""

    __tablename__ = PREFIX + "trials"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        CheckConstraint(
            "state in ({})".format(", ".join(f"'{state}'" for state in TRIAL_STATES)),
            name="state",
        ),
        Index(None, "study_id", "state", "number"),
        Index(None, "study_id", "told", "number"),
        Index(None, "study_id", "equivalence", "number"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"))
    number: Mapped[Count] = mapped_column(comment="within the study, from 0")
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    parameters: Mapped[Document] = mapped_column(comment="as suggested")
    config: Mapped[Document] = mapped_column(comment="model, objective and training")

    beta: Mapped[Number | None] = mapped_column(
        comment="canonical: weight of R against the NLL in nats; null if the regulariser has none"
    )
    raw_weight: Mapped[Number | None] = mapped_column(
        comment="KL weight in the trial's reduction; null as beta"
    )
    beta_norm: Mapped[Number | None] = mapped_column(
        comment="beta * latents / pixels; null as beta"
    )
    level: Mapped[Number | None] = mapped_column(
        comment="t = beta * sigma2 of a Gaussian decoder, squared model units"
    )
    latent_dim: Mapped[Count]
    reduction: Mapped[Name]
    annealing: Mapped[Name]
    likelihood: Mapped[Name]
    family: Mapped[Name]
    sigma2: Mapped[Number | None] = mapped_column(
        comment="decoder variance, fixed or initial, squared model units"
    )
    learning_rate: Mapped[Number]
    batch_size: Mapped[Count] = mapped_column(comment="examples per step")
    epochs: Mapped[Count] = mapped_column(comment="epochs to train")
    seed: Mapped[Large]
    regulariser: Mapped[Name] = mapped_column(
        server_default="kl", comment="what stands beside the NLL in the loss"
    )
    prior: Mapped[Name] = mapped_column(server_default="standard", comment="p(z)")
    posterior: Mapped[Name] = mapped_column(
        server_default="diagonal", comment="covariance of q(z|x): diagonal or full"
    )
    weights: Mapped[Document | None] = mapped_column(
        comment="KL weight of the same beta in each reduction, by its name; null as beta"
    )
    equivalence: Mapped[str | None] = mapped_column(
        String(64), comment="SHA-256 of the settings without what cannot change the model"
    )
    reused_from: Mapped[Count | None] = mapped_column(
        comment="number of the equivalent trial whose results these are"
    )

    rate_nats: Mapped[Nats | None]
    rate_stderr_nats: Mapped[Nats | None]
    distortion_se: Mapped[SquaredError | None]
    distortion_se_stderr: Mapped[SquaredError | None]
    distortion_nll_nats: Mapped[Nats | None]
    distortion_nll_stderr_nats: Mapped[Nats | None]
    elbo_nats: Mapped[Nats | None]
    mse: Mapped[Number | None] = mapped_column(comment="squared error per pixel")
    psnr_db: Mapped[Number | None] = mapped_column(comment="decibel")
    bits_per_dim: Mapped[Number | None] = mapped_column(
        comment="-ELBO in bits per pixel, only where it is a probability of discrete data"
    )
    active_units: Mapped[Count | None] = mapped_column(
        comment="latents whose mean varies by more than active_threshold"
    )
    active_threshold: Mapped[Number | None] = mapped_column(comment="on Cov_x(E_q[u|x])")
    collapsed: Mapped[bool | None] = mapped_column(comment="no latent is active")
    sigma2_learned: Mapped[Number | None] = mapped_column(
        comment="decoder variance after training, squared model units"
    )
    mutual_information_nats: Mapped[Nats | None] = mapped_column(comment="I(x; z) under q, nats")
    marginal_kl_nats: Mapped[Nats | None] = mapped_column(comment="KL(q(z) || p(z)), nats")
    total_correlation_nats: Mapped[Nats | None] = mapped_column(
        comment="KL(q(z) || prod q(z_j)), nats"
    )
    dimension_kl_nats: Mapped[Nats | None] = mapped_column(
        comment="sum over latents of KL(q(z_j) || p(z_j)), nats"
    )
    diagnostic_examples: Mapped[Count | None] = mapped_column(
        comment="held-out examples behind the four estimates above and the IWAE bound"
    )
    iwae_nats: Mapped[Nats | None] = mapped_column(
        comment="importance-weighted bound on ln p(x), nats per example"
    )
    iwae_stderr_nats: Mapped[Nats | None]
    iwae_samples: Mapped[Count | None] = mapped_column(comment="draws of z per example in it")
    exact_nll_nats: Mapped[Nats | None] = mapped_column(
        comment="exact -ln p(x) of a linear model, nats per example"
    )
    bce_floor_nats: Mapped[Nats | None] = mapped_column(
        comment="entropy of grey pixels, which binary cross-entropy keeps above, nats per example"
    )
    collapse: Mapped[str | None] = mapped_column(
        String(16), comment="none, partial, collapsed or never_active"
    )
    collapse_epoch: Mapped[Count | None] = mapped_column(
        comment="first epoch without any active latent, if collapsed"
    )
    train_rate_nats: Mapped[Nats | None] = mapped_column(
        comment="on training examples, nats per example"
    )
    train_distortion_se: Mapped[SquaredError | None] = mapped_column(
        comment="on training examples, squared error summed over pixels, per example"
    )
    train_distortion_nll_nats: Mapped[Nats | None] = mapped_column(
        comment="on training examples, nats per example"
    )
    mig: Mapped[Number | None] = mapped_column(comment="mutual information gap, 0 to 1")
    dci_disentanglement: Mapped[Number | None] = mapped_column(comment="0 to 1")
    dci_completeness: Mapped[Number | None] = mapped_column(comment="0 to 1")
    dci_informativeness: Mapped[Number | None] = mapped_column(comment="0 to 1")
    factorvae_score: Mapped[Number | None] = mapped_column(comment="accuracy, 0 to 1")
    betavae_score: Mapped[Number | None] = mapped_column(comment="accuracy, 0 to 1")
    notes: Mapped[list[str] | None] = mapped_column(
        JSON(none_as_null=True), comment="warnings about the metrics, in words"
    )
    seconds: Mapped[Seconds] = mapped_column(
        comment="seconds of training over all attempts (epochs only; without evaluation)"
    )
    epoch: Mapped[Count] = mapped_column(comment="last finished epoch, from 1; 0 before")

    attempt: Mapped[Count] = mapped_column(comment="latest attempt, from 1; 0 before")
    deaths: Mapped[Count] = mapped_column(comment="attempts whose worker vanished")
    worker: Mapped[Name | None] = mapped_column(index=True, comment="of the last attempt")
    lease_until: Mapped[Timestamp | None] = mapped_column(
        comment="end of the running attempt's lease, UTC seconds since 1970"
    )
    error: Mapped[Message | None] = mapped_column(comment="why it diverged or failed")
    told: Mapped[bool] = mapped_column(comment="whether the sampler knows the outcome")
    created_at: Mapped[Timestamp]
    started_at: Mapped[Timestamp | None] = mapped_column(
        comment="start of the first attempt, UTC seconds since 1970"
    )
    finished_at: Mapped[Timestamp | None]


@final
class EpochRow(Base):
    """Epochs of training: means over the epoch's steps, with z ~ q(z|x); R and D unweighted."""

    __tablename__ = PREFIX + "epochs"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey(TrialRow.id, ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[Key] = mapped_column(comment="from 1")
    attempt: Mapped[Count] = mapped_column(comment="the attempt that trained it")
    step: Mapped[Large] = mapped_column(comment="optimiser steps since the trial's start")
    rate_nats: Mapped[Nats]
    distortion_se: Mapped[SquaredError]
    distortion_nll_nats: Mapped[Nats]
    objective: Mapped[Number] = mapped_column(comment="mean loss in the trial's training units")
    annealing_weight: Mapped[Number] = mapped_column(
        comment="weight of the schedule, mean over the epoch's steps"
    )
    nll_weight: Mapped[Number] = mapped_column(
        comment="weight on the NLL in force, mean over the epoch's steps"
    )
    rate_weight: Mapped[Number] = mapped_column(
        comment="weight on the KL in force, annealing included, mean over the epoch's steps"
    )
    learning_rate: Mapped[Number | None] = mapped_column(
        comment="in force, mean over the epoch's steps"
    )
    seconds: Mapped[Seconds]
    active_units: Mapped[Count | None] = mapped_column(
        comment="latents active over the epoch's training data"
    )


@final
class LatentRow(Base):
    """Latents of finished trials, on held-out data."""

    __tablename__ = PREFIX + "latents"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey(TrialRow.id, ondelete="CASCADE"), primary_key=True
    )
    latent: Mapped[Key] = mapped_column(comment="from 0")
    kl_nats: Mapped[Nats]
    mean_variance: Mapped[Number] = mapped_column(comment="Cov_x(E_q[u|x])")
    active: Mapped[bool] = mapped_column(comment="mean_variance is above the threshold")
    kl_std_nats: Mapped[Nats | None] = mapped_column(
        comment="standard deviation over the examples, nats"
    )
    kl_q10_nats: Mapped[Nats | None] = mapped_column(
        comment="10% quantile over the examples, nats"
    )
    kl_q90_nats: Mapped[Nats | None] = mapped_column(
        comment="90% quantile over the examples, nats"
    )
    last_active_epoch: Mapped[Count | None] = mapped_column(
        comment="last epoch with it active on training data, 0 for never"
    )


@final
class AttemptRow(Base):
    """Attempts: the history of each trial."""

    __tablename__ = PREFIX + "attempts"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey(TrialRow.id, ondelete="CASCADE"), primary_key=True
    )
    attempt: Mapped[Key] = mapped_column(comment="from 1")
    worker: Mapped[Name]
    started_at: Mapped[Timestamp]
    ended_at: Mapped[Timestamp | None]
    seconds: Mapped[Seconds] = mapped_column(
        comment="seconds of training in this attempt (epochs only)"
    )
    outcome: Mapped[str | None] = mapped_column(
        String(16), comment="complete, diverged, failed, released or lost; null while it runs"
    )
    reason: Mapped[Message | None]


@final
class ArtifactRow(Base):
    """Artifacts: content here if small, else in a file of the study's directory."""

    __tablename__ = PREFIX + "artifacts"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey(TrialRow.id, ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    media_type: Mapped[Name]
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    path: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[Large] = mapped_column(comment="bytes")
    created_at: Mapped[Timestamp]


@final
class LauncherRow(Base):
    """Processes that start workers and look after them."""

    __tablename__ = PREFIX + "launchers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"), index=True)
    kind: Mapped[Name] = mapped_column(comment="local, ray, slurm, …")
    host: Mapped[Name]
    pid: Mapped[Count]
    process_started_at: Mapped[Timestamp] = mapped_column(
        comment="by its machine's clock, UTC seconds since 1970"
    )
    workers_wanted: Mapped[Count] = mapped_column(comment="how many it keeps running")
    started_at: Mapped[Timestamp]
    seen_at: Mapped[Timestamp]
    ended_at: Mapped[Timestamp | None]


@final
class WorkerRow(Base):
    """Worker processes."""

    __tablename__ = PREFIX + "workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"), index=True)
    host: Mapped[Name]
    pid: Mapped[Count]
    process_started_at: Mapped[Timestamp] = mapped_column(
        comment="by its machine's clock, UTC seconds since 1970"
    )
    device: Mapped[Name]
    versions: Mapped[Document] = mapped_column(comment="versions in that process")
    started_at: Mapped[Timestamp]
    seen_at: Mapped[Timestamp]
    ended_at: Mapped[Timestamp | None]
    launcher_id: Mapped[str | None] = mapped_column(
        String(64), comment="of the launcher that started it; null if started by hand"
    )
    stop: Mapped[str | None] = mapped_column(
        String(16), comment="order to this worker: drain or now; null while it goes on"
    )
    reason: Mapped[Message | None] = mapped_column(comment="why it ended")
    note: Mapped[Message | None] = mapped_column(
        comment="what hinders it at the moment, in one line"
    )
