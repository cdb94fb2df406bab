"""One attempt at a trial: from its last checkpoint through its epochs to its held-out metrics."""

import hashlib
import io
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studies.database import Database
from studies.leases import extend_lease, release_trial
from studies.outcomes import diverge_trial, finish_trial, store_epoch
from studies.records import (
    ArtifactRecord,
    EpochRecord,
    EvaluationRecord,
    LatentRecord,
    Lease,
    StudyRecord,
)
from sweeps.stopping import StopRequest
from vae_models.checkpoints import load_checkpoint, save_checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import CheckpointError, NonFiniteError
from vae_models.evaluation import ACTIVE_VARIANCE, Evaluation, evaluate, reconstruct, sample_prior
from vae_models.trainer import Diverged, EpochResult, Trainer
from vae_models.vae import VAE

_log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_SECONDS = 10.0
LEASE_AT_END = 60.0


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
    """

    db: Database
    study: StudyRecord
    lease: Lease
    data: DataSet
    device: str
    stop: StopRequest

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
        model = trainer.model(0)
        try:
            evaluation = evaluate(model, self.data)
        except NonFiniteError as error:
            checkpoint = trainer.checkpoint(0)
            place = f"after epoch {checkpoint.epoch}, step {checkpoint.step}"
            diverge_trial(self.db, self.lease, f"{place}: {error}")
            return
        extend_lease(self.db, self.lease, LEASE_AT_END)  # no other worker writes that file now
        save_checkpoint(path, replace(trainer.checkpoint(0), optimiser={}))
        learned = model.likelihood.sigma2 if self._learns_sigma2 else None
        finish_trial(
            self.db,
            self.lease,
            _evaluation_record(evaluation, learned),
            _latent_records(evaluation),
            [_file_artifact("checkpoint", path, self.study), *_pictures(model, self.data)],
        )

    @property
    def _learns_sigma2(self) -> bool:
        return bool(self.lease.config["model"]["likelihood"] == "gaussian_learned")


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
    )


def _evaluation_record(evaluation: Evaluation, learned: float | None) -> EvaluationRecord:
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
    )


def _latent_records(evaluation: Evaluation) -> list[LatentRecord]:
    pairs = zip(evaluation.latent_kl_nats, evaluation.latent_mean_variance, strict=True)
    return [
        LatentRecord(
            latent=latent, kl_nats=kl, mean_variance=variance, active=variance > ACTIVE_VARIANCE
        )
        for latent, (kl, variance) in enumerate(pairs)
    ]


def _file_artifact(kind: str, path: Path, study: StudyRecord) -> ArtifactRecord:
    content = path.read_bytes()
    return ArtifactRecord(
        kind=kind,
        media_type="application/octet-stream",
        content=None,
        path=path.relative_to(study.artifacts_dir).as_posix(),
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def _pictures(model: VAE, data: DataSet) -> list[ArtifactRecord]:
    """The same held-out images for every trial above their reconstructions, and prior samples.

    As uint8 arrays: "reconstructions" is [2, count, C, H, W], "samples" [count, C, H, W].
    """
    pair, samples = reconstruct(model, data), sample_prior(model, data)
    if pair is None or samples is None:
        return []
    return [
        _array_artifact("reconstructions", torch.stack(pair)),
        _array_artifact("samples", samples),
    ]


def _array_artifact(kind: str, images: Tensor) -> ArtifactRecord:
    buffer = io.BytesIO()
    np.save(buffer, (images * 255).round().to(torch.uint8).numpy(), allow_pickle=False)
    content = buffer.getvalue()
    return ArtifactRecord(
        kind=kind,
        media_type="application/x-npy",
        content=content,
        path=None,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
