"""One attempt at a trial: from its last checkpoint through its epochs to its held-out metrics."""

import logging
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from studies.database import Database
from studies.leases import extend_lease, release_trial
from studies.outcomes import diverge_trial, finish_trial, store_epoch
from studies.records import EpochRecord, EvaluationRecord, LatentRecord, Lease, StudyRecord
from sweeps.annealing_end import annealing_note
from sweeps.artifacts import file_artifact, picture_artifacts
from sweeps.stopping import StopRequest
from vae_models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.diagnostics import Diagnostics, diagnose
from vae_models.errors import CheckpointError, NonFiniteError
from vae_models.evaluation import ACTIVE_VARIANCE, Evaluation, evaluate
from vae_models.evaluation_config import EvaluationConfig
from vae_models.trainer import Diverged, EpochResult, Trainer
from vae_models.vae import VAE

_log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 10.0
LEASE_AT_END = 60.0

_LEARNING_SIGMA2 = ("gaussian_learned", "gaussian_optimal")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One worker's try at a trial.

    Attributes:
        db: where the trial is recorded.
        study: the study that it belongs to.
        lease: the right to write to it.
        data: the data set, on any device.
        device: where to train.
        stop: when to leave at the end of an epoch.
        evaluation: what to measure of the trained model.
    """

    db: Database
    study: StudyRecord
    lease: Lease
    data: DataSet
    device: str
    stop: StopRequest
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def run(self) -> None:
        """Trains the trial to its end, to its divergence, or until a stop is asked for.

        Raises:
            LeaseLost: another worker has the trial now; nothing was written after that.
            StudiesError: the database cannot be reached.
        """
        config = TrialConfig.from_dict(self.lease.config)
        path = checkpoint_path(self.study, self.lease)
        trainer = self._trainer(config, path)
        saved = time.monotonic()
        for result in trainer:
            if isinstance(result, Diverged):
                diverge_trial(self.db, self.lease, result.message)
                return
            store_epoch(self.db, self.lease, _epoch_record(result))
            leaving = self.stop.requested and result.epoch < config.train.epochs
            if leaving or time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(path, trainer.checkpoint(0))
                saved = time.monotonic()
            if leaving:
                release_trial(self.db, self.lease, self.stop.reason)
                return
        self._finish(trainer, path)

    def _trainer(self, config: TrialConfig, path: Path) -> Trainer:
        """The trainer at the trial's last checkpoint, or at the start if there is none that fits."""
        if path.exists():
            try:
                found = [load_checkpoint(path)]
                return Trainer([config], self.data, device=self.device, checkpoints=found)
            except CheckpointError as error:
                _log.warning("trial %d starts again: %s", self.lease.number, error)
        return Trainer([config], self.data, device=self.device)

    def _finish(self, trainer: Trainer, path: Path) -> None:
        """Measures the trained model, keeps it (without the optimiser's state), stores both."""
        model, trained = trainer.model(0), trainer.checkpoint(0)
        try:
            evaluation, diagnostics = self._measure(model, trained)
        except NonFiniteError as error:
            place = f"after epoch {trained.epoch}, step {trained.step}"
            diverge_trial(self.db, self.lease, f"{place}: {error}")
            return
        extend_lease(self.db, self.lease, LEASE_AT_END)  # no other worker writes that file now
        save_checkpoint(path, replace(trained, optimiser={}))
        learned = model.likelihood.sigma2 if self._learns_sigma2 else None
        finish_trial(
            self.db,
            self.lease,
            _evaluation_record(evaluation, diagnostics, learned),
            _latent_records(evaluation, trained.last_active_epochs),
            [
                file_artifact("checkpoint", path, self.study),
                *picture_artifacts(model, self.data, evaluation),
            ],
        )

    def _measure(self, model: VAE, trained: Checkpoint) -> tuple[Evaluation, Diagnostics]:
        """What the held-out examples say of the trained model."""
        evaluation = evaluate(model, self.data, samples=self.evaluation.samples)
        diagnostics = diagnose(
            model,
            self.data,
            evaluation,
            self.evaluation,
            last_active_epochs=trained.last_active_epochs,
            epochs=trained.epoch,
        )
        note = annealing_note(TrialConfig.from_dict(self.lease.config), len(self.data.train))
        notes = diagnostics.notes if note is None else (*diagnostics.notes, note)
        return evaluation, replace(diagnostics, notes=notes)

    @property
    def _learns_sigma2(self) -> bool:
        return self.lease.config["model"]["likelihood"] in _LEARNING_SIGMA2


def checkpoint_path(study: StudyRecord, lease: Lease) -> Path:
    """The file of a trial's checkpoint, in a directory that exists.

    The directory's name carries the trial's UUID, since a study's name and numbers can come again.
    """
    folder = Path(study.artifacts_dir) / study.name / f"{lease.number:05d}-{lease.uuid[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / CHECKPOINT


def _epoch_record(result: EpochResult) -> EpochRecord:
    return EpochRecord(
        epoch=result.epoch,
        step=result.step,
        rate_nats=result.rate_nats,
        distortion_se=result.distortion_se,
        distortion_nll_nats=result.distortion_nll_nats,
        objective=result.objective,
        annealing_weight=result.annealing_weight,
        nll_weight=result.nll_weight,
        rate_weight=result.rate_weight,
        seconds=result.seconds,
        learning_rate=result.learning_rate,
        active_units=result.active_units,
    )


def _evaluation_record(
    evaluation: Evaluation, diagnostics: Diagnostics, learned: float | None
) -> EvaluationRecord:
    return EvaluationRecord(
        rate_nats=evaluation.rate_nats,
        rate_stderr_nats=evaluation.rate_stderr,
        distortion_se=evaluation.distortion_se,
        distortion_se_stderr=evaluation.distortion_se_stderr,
        distortion_nll_nats=evaluation.distortion_nll_nats,
        distortion_nll_stderr_nats=evaluation.distortion_nll_stderr,
        elbo_nats=evaluation.elbo_nats,
        mse=evaluation.mse,
        psnr_db=evaluation.psnr_db,
        bits_per_dim=evaluation.bits_per_dim,
        active_units=evaluation.active_units,
        collapsed=evaluation.collapsed,
        active_threshold=ACTIVE_VARIANCE,
        sigma2_learned=learned,
        **asdict(diagnostics),
    )


def _latent_records(
    evaluation: Evaluation, last_active_epochs: tuple[int, ...]
) -> list[LatentRecord]:
    columns = zip(
        evaluation.latent_kl_nats,
        evaluation.latent_kl_std_nats,
        evaluation.latent_kl_q10_nats,
        evaluation.latent_kl_q90_nats,
        evaluation.latent_mean_variance,
        last_active_epochs,
        strict=True,
    )
    return [
        LatentRecord(
            latent=latent,
            kl_nats=kl,
            mean_variance=variance,
            active=variance > ACTIVE_VARIANCE,
            kl_std_nats=std,
            kl_q10_nats=low,
            kl_q90_nats=high,
            last_active_epoch=last,
        )
        for latent, (kl, std, low, high, variance, last) in enumerate(columns)
    ]
