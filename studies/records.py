"""Frozen, typed records: what goes into the database and what comes out of it.

Rates are in nats per example, summed over the latents; distortions are summed over the pixels,
per example; both at beta = 1. Times are UTC seconds since 1970 by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

from studies.checked import Checked
from studies.diagnostics import Diagnostics

JsonObject = dict[str, Any]
Distortion = Literal["se", "nll"]
TrialState = Literal["queued", "running", "complete", "diverged", "failed"]

StopOrder = Literal["drain", "now"]
"""To finish the running trials and leave, or to leave at their next epoch."""

TRIAL_STATES: tuple[TrialState, ...] = ("queued", "running", "complete", "diverged", "failed")
FINISHED_STATES: tuple[TrialState, ...] = ("complete", "diverged", "failed")


@final
@dataclass(frozen=True, kw_only=True)
class StudyRecord(Checked):
    """A study: the record of a sweep.

    Attributes:
        name: Unique name, also of the Optuna study beside it.
        spec: The whole normalised spec.
        spec_hash: Hash of the parts of the spec that make trials comparable.
        distortion: Which distortion the study's front uses.
        trials_wanted: Number of trials at which the sweep is done.
        sampler: Name of the sampler.
        data: The data set: name, checksum, sizes, image shape, binarisation, peak.
        spectrum: Eigenvalues of the data's covariance, descending, in squared model units.
        rate_reference_nats: Rate of the hypervolume's reference point.
        distortion_reference: Distortion of the reference point, in the unit of `distortion`.
        artifacts_url: Directory or URL of checkpoints and other large files.
        code_version: Version of rdsweep that made the study.
        packages: Versions of the packages that count for the numbers.
        created_at: UTC seconds; None until the database has stamped it.
    """

    name: str
    spec: JsonObject
    spec_hash: str
    distortion: Distortion
    trials_wanted: int
    sampler: str
    data: JsonObject
    spectrum: tuple[float, ...]
    rate_reference_nats: float
    distortion_reference: float
    artifacts_url: str
    code_version: str
    packages: JsonObject
    created_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """What distinguishes one trial from another before it has run.

    Attributes:
        number: Number of the trial within its study, from 0.
        parameters: The parameters as they were suggested.
        config: The whole configuration of model, objective and training.
        beta: Canonical beta, the weight of R against the NLL in nats; None where the regulariser
            reads none.
        raw_weight: KL weight in the trial's own reduction; None as beta.
        beta_norm: beta * latents / pixels; None as beta.
        level: t = beta * sigma^2 of a Gaussian decoder with fixed variance, else None.
        latent_dim: Number of latents.
        reduction: Reduction mode of the training objective.
        annealing: Schedule of the KL weight.
        likelihood: Decoder's likelihood.
        family: Network family.
        sigma2: Fixed (or initial) decoder variance, None where the likelihood has none.
        learning_rate: Adam's learning rate.
        batch_size: Examples per step.
        epochs: Epochs to train.
        seed: Seed of weights, data order and noise.
        regulariser: What stands beside the NLL in the loss.
        prior: The prior p(z).
        posterior: Covariance of q(z|x): "diagonal" or "full".
        weights: The KL weight that means the same beta in each reduction, by its name: the
            number to paste into code of that reduction; None as beta.
        equivalence: Hexadecimal SHA-256 of the settings without what cannot change the model:
            trials of one study that have it in common train the same model; None if unknown.
    """

    number: int
    parameters: JsonObject
    config: JsonObject
    beta: float | None
    raw_weight: float | None
    beta_norm: float | None
    level: float | None
    latent_dim: int
    reduction: str
    annealing: str
    likelihood: str
    family: str
    sigma2: float | None
    learning_rate: float
    batch_size: int
    epochs: int
    seed: int
    regulariser: str = "kl"
    prior: str = "standard"
    posterior: str = "diagonal"
    weights: JsonObject | None = None
    equivalence: str | None = None


@final
@dataclass(frozen=True, kw_only=True)
class NewTrial(TrialSettings, Checked):
    """A suggestion on its way into the queue."""


@final
@dataclass(frozen=True, kw_only=True)
class TrialRecord(Diagnostics, TrialSettings):
    """A trial as the database knows it.

    The metrics are measured on held-out data with z ~ q(z|x), and are None unless the trial is
    complete; the diagnostics among them also where they were not measured.

    Attributes:
        study: Name of the study.
        uuid: Identity of the trial across databases.
        state: One of `TRIAL_STATES`.
        rate_nats: R, nats per example.
        rate_stderr_nats: Standard error of R over the held-out examples.
        distortion_se: Squared error summed over pixels, per example.
        distortion_se_stderr: Its standard error.
        distortion_nll_nats: Negative log-likelihood, nats per example.
        distortion_nll_stderr_nats: Its standard error.
        elbo_nats: -(distortion_nll_nats + rate_nats).
        mse: distortion_se per pixel.
        psnr_db: Peak signal-to-noise ratio of `mse`, decibel.
        bits_per_dim: -ELBO in bits per pixel, only where it bounds a probability of discrete data:
            two levels on binary data, or 256 levels.
        active_units: Number of latents with Cov_x(E_q[u|x]) > active_threshold.
        active_threshold: The threshold that was used.
        collapsed: Whether no latent is active.
        sigma2_learned: Decoder variance at the end of training, where it is learned.
        seconds: Seconds of training over all attempts (epochs only; without evaluation).
        epoch: Last finished epoch, from 1; 0 before the first one.
        attempt: Latest attempt, from 1; 0 before the first one.
        error: Message or traceback of a diverged or failed trial.
        worker: Worker of the running or of the last attempt, None while queued.
        told: Whether the sampler has been told the outcome.
        created_at: When it was queued, UTC seconds.
        started_at: When its first attempt started, UTC seconds.
        finished_at: When it finished, UTC seconds.
        reused_from: Number of the equivalent trial whose results these are; None if it was
            trained itself.
    """

    study: str
    uuid: str
    state: TrialState
    rate_nats: float | None
    rate_stderr_nats: float | None
    distortion_se: float | None
    distortion_se_stderr: float | None
    distortion_nll_nats: float | None
    distortion_nll_stderr_nats: float | None
    elbo_nats: float | None
    mse: float | None
    psnr_db: float | None
    bits_per_dim: float | None
    active_units: int | None
    active_threshold: float | None
    collapsed: bool | None
    sigma2_learned: float | None
    seconds: float
    epoch: int
    attempt: int
    error: str | None
    worker: str | None
    told: bool
    created_at: float
    started_at: float | None
    finished_at: float | None
    reused_from: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(self.notes or ()))  # a list or null in JSON


@final
@dataclass(frozen=True, kw_only=True)
class EpochRecord(Checked):
    """One epoch of training: means over its steps, with z ~ q(z|x).

    A step's loss was `nll_weight` * NLL + `rate_weight` * KL, both in nats per example, under the
    regulariser ``kl``; under any other the two weights are what its gradient amounts to.

    Attributes:
        epoch: From 1.
        step: Optimiser steps done since the trial's start.
        rate_nats: R, nats per example, unweighted.
        distortion_se: Squared error summed over pixels, per example.
        distortion_nll_nats: Negative log-likelihood, nats per example, unweighted.
        objective: Mean loss in the trial's own training units; comparable with nothing.
        annealing_weight: Weight of the schedule, usually in [0, 1]; mean over the epoch's steps.
        nll_weight: Weight on the NLL in force; mean over the epoch's steps.
        rate_weight: Weight on the KL in force, annealing included; mean over the epoch's steps.
        seconds: Duration of the epoch.
        learning_rate: Learning rate in force; mean over the epoch's steps.
        active_units: Latents that were active over the epoch's training data.
    """

    epoch: int
    step: int
    rate_nats: float
    distortion_se: float
    distortion_nll_nats: float
    objective: float
    annealing_weight: float
    nll_weight: float
    rate_weight: float
    seconds: float
    learning_rate: float | None = None
    active_units: int | None = None


@final
@dataclass(frozen=True, kw_only=True)
class EvaluationRecord(Diagnostics, Checked):
    """Metrics of a finished trial on held-out data; fields as in `TrialRecord`."""

    rate_nats: float
    rate_stderr_nats: float
    distortion_se: float
    distortion_se_stderr: float
    distortion_nll_nats: float
    distortion_nll_stderr_nats: float
    elbo_nats: float
    mse: float
    psnr_db: float | None
    active_units: int
    collapsed: bool
    bits_per_dim: float | None = None
    active_threshold: float | None = None
    sigma2_learned: float | None = None


@final
@dataclass(frozen=True, kw_only=True)
class LatentRecord(Checked):
    """One latent of a finished trial, on held-out data.

    Attributes:
        latent: Index, from 0.
        kl_nats: Mean KL of this latent, nats per example.
        mean_variance: Cov_x(E_q[u|x]), the variance of its posterior mean over the data.
        active: Whether `mean_variance` is above the threshold.
        kl_std_nats: Standard deviation of its KL over the examples.
        kl_q10_nats: Its KL at the 10% quantile of the examples.
        kl_q90_nats: Its KL at the 90% quantile of the examples.
        last_active_epoch: Last epoch in which it was active on training data; 0 for never.
    """

    latent: int
    kl_nats: float
    mean_variance: float
    active: bool
    kl_std_nats: float | None = None
    kl_q10_nats: float | None = None
    kl_q90_nats: float | None = None
    last_active_epoch: int | None = None


@final
@dataclass(frozen=True, kw_only=True)
class ArtifactRecord:
    """Something that a trial made: small content in the database, large content in a file.

    Attributes:
        kind: What it is, as "reconstructions"; one of each kind per trial.
        media_type: Format of the content.
        content: The bytes, or None if they are in the file at `path`.
        path: Path of the file, relative to the study's artifacts directory.
        sha256: Hexadecimal checksum of the content.
        size: Bytes.
    """

    kind: str
    media_type: str
    content: bytes | None
    path: str | None
    sha256: str
    size: int


@final
@dataclass(frozen=True, kw_only=True)
class Lease:
    """A worker's right to run one attempt at a trial, until the lease runs out.

    Attributes:
        study: Name of the study.
        number: Number of the trial.
        uuid: Identity of the trial.
        attempt: From 1; fences off every earlier attempt.
        worker_id: Who holds it.
        parameters: As suggested.
        config: The whole configuration to train.
        equivalence: What trials of the same model have in common; None if unknown.
    """

    study: str
    number: int
    uuid: str
    attempt: int
    worker_id: str
    parameters: JsonObject
    config: JsonObject
    equivalence: str | None = None


@final
@dataclass(frozen=True, kw_only=True)
class WorkerRecord:
    """A worker process.

    Attributes:
        id: Unique identity that leases are held under.
        study: Name of the study that it works on.
        host: Name of its machine.
        pid: Process id on that machine.
        process_started_at: Start of the process by its machine's clock, UTC seconds; with `pid`
            it identifies the process even after the system has used the pid again.
        device: Device that it trains on, as "cuda:0".
        versions: Versions of Python, torch and so on in that process.
        started_at: When it registered, UTC seconds.
        seen_at: When it was last heard of, UTC seconds.
        ended_at: When it ended or was found dead, UTC seconds; None while it works.
        silent_seconds: For how long nothing was heard of it, by the database's clock.
        launcher_id: Identity of the launcher that started it; None if it was started by hand.
        stop: The order that it has got: "drain", "now" or None.
        reason: Why it ended; None while it works, and where it had nothing left to do.
        note: What hinders it at the moment, in one line.
    """

    id: str
    study: str
    host: str
    pid: int
    process_started_at: float
    device: str
    versions: JsonObject
    started_at: float
    seen_at: float
    ended_at: float | None
    silent_seconds: float = 0.0
    launcher_id: str | None = None
    stop: StopOrder | None = None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class LauncherRecord:
    """A process that starts workers and looks after them, as `rdsweep run` does.

    Attributes:
        id: Unique identity.
        study: Name of the study that its workers work on.
        kind: How it starts them: "local", "ray", "slurm" or "manual".
        host: Name of its machine.
        pid: Process id on that machine.
        process_started_at: Start of the process by its machine's clock, UTC seconds.
        workers_wanted: How many workers it is to keep running.
        started_at: When it registered, UTC seconds.
        seen_at: When it was last heard of, UTC seconds.
        ended_at: When it ended, UTC seconds; None while it works.
        silent_seconds: For how long nothing was heard of it, by the database's clock.
    """

    id: str
    study: str
    kind: str
    host: str
    pid: int
    process_started_at: float
    workers_wanted: int
    started_at: float
    seen_at: float
    ended_at: float | None
    silent_seconds: float = 0.0
