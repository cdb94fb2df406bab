"""A study of made-up trials with everything that a report reads: epochs, latents, pictures."""

import hashlib
import io

import numpy as np

from studies.database import Database, open_database, prepare_schema
from studies.leases import take_trial
from studies.outcomes import finish_trial, store_epoch
from studies.queue import add_trials
from studies.records import (
    ArtifactRecord,
    EpochRecord,
    EvaluationRecord,
    LatentRecord,
    NewTrial,
    StudyRecord,
)
from studies.study_records import create_study
from vae_models.config import ModelConfig, ObjectiveConfig, TrainConfig, TrialConfig

EPOCHS, LATENTS, PIXELS = 20, 16, 784


def synthetic_study(url: str, *, trials: int, seed: int = 0) -> Database:
    """A study named "synthetic" with so many complete trials along a noisy curve."""
    db = open_database(url)
    prepare_schema(db)
    create_study(
        db,
        StudyRecord(
            name="synthetic",
            spec={"study": {"name": "synthetic"}, "model": {}, "objective": {}, "train": {}},
            spec_hash="0" * 64,
            distortion="se",
            trials_wanted=trials,
            sampler="random",
            data={
                "name": "mnist",
                "checksum": "0" * 64,
                "train_size": 10_000,
                "heldout_size": 10_000,
                "image_shape": [1, 28, 28],
                "binarisation": "none",
                "peak": 1.0,
            },
            spectrum=tuple(np.geomspace(5, 1e-4, PIXELS).tolist()),
            rate_reference_nats=260.0,
            distortion_reference=53.0,
            artifacts_url="files",
            code_version="0",
            packages={},
        ),
    )
    rng = np.random.default_rng(seed)
    for number in range(trials):
        beta = float(np.exp(rng.uniform(np.log(0.01), np.log(100))))
        add_trials(db, "synthetic", [_new_trial(number, beta)])
        _finish(db, rng, 60 / (1 + beta) + rng.exponential(2))
    return db


def _new_trial(number: int, beta: float) -> NewTrial:
    config = TrialConfig(
        model=ModelConfig(latent_dim=LATENTS),
        objective=ObjectiveConfig(beta=beta),
        train=TrainConfig(epochs=EPOCHS),
    )
    return NewTrial(
        number=number,
        parameters={"beta": beta},
        config=config.to_dict(),
        beta=beta,
        raw_weight=beta,
        beta_norm=beta * LATENTS / PIXELS,
        level=beta,
        latent_dim=LATENTS,
        reduction=("sum", "mean", "pixel_mean", "latent_mean")[number % 4],
        annealing="constant",
        likelihood="gaussian",
        family="mlp",
        sigma2=1.0,
        learning_rate=1e-3,
        batch_size=128,
        epochs=EPOCHS,
        seed=0,
    )


def _finish(db: Database, rng: np.random.Generator, rate: float) -> None:
    lease = take_trial(db, "synthetic", "worker", lease_seconds=60, max_attempts=3)
    if lease is None:
        message = "a queued trial must be there to take"
        raise RuntimeError(message)
    error = 50 * float(np.exp(-rate / 15)) + 3
    for epoch in range(1, EPOCHS + 1):
        share = 1 - np.exp(-epoch / 5)
        store_epoch(db, lease, _epoch(epoch, rate * share, 53 - (53 - error) * share))
    kls = rng.dirichlet(np.full(LATENTS, 0.4)) * rate
    finish_trial(
        db,
        lease,
        EvaluationRecord(
            rate_nats=rate,
            rate_stderr_nats=0.1,
            distortion_se=error,
            distortion_se_stderr=0.1,
            distortion_nll_nats=error / 2 + 720,
            distortion_nll_stderr_nats=0.1,
            elbo_nats=-rate - error / 2 - 720,
            mse=error / PIXELS,
            psnr_db=float(-10 * np.log10(error / PIXELS)),
            active_units=int((kls > 0.05).sum()),
            collapsed=bool((kls <= 0.05).all()),
        ),
        [
            LatentRecord(latent=j, kl_nats=float(kl), mean_variance=float(kl), active=kl > 0.05)
            for j, kl in enumerate(kls)
        ],
        [_pictures(rng, "reconstructions", (2, 10)), _pictures(rng, "samples", (10,))],
    )


def _epoch(epoch: int, rate: float, error: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        step=78 * epoch,
        rate_nats=float(rate),
        distortion_se=float(error),
        distortion_nll_nats=float(error / 2 + 720),
        objective=float(rate + error),
        annealing_weight=1.0,
        nll_weight=1.0,
        rate_weight=1.0,
        seconds=0.05,
    )


def _pictures(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> ArtifactRecord:
    buffer = io.BytesIO()
    pixels = rng.integers(0, 255, (*shape, 1, 28, 28), dtype=np.uint8)
    np.save(buffer, pixels, allow_pickle=False)
    content = buffer.getvalue()
    return ArtifactRecord(
        kind=kind,
        media_type="application/x-npy",
        content=content,
        path=None,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
