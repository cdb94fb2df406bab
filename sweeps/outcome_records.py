"""What a training and its evaluation measured, as the records that the database takes."""

from dataclasses import asdict

from studies.records import EpochRecord, EvaluationRecord, LatentRecord
from vae_models.diagnostics import Diagnostics
from vae_models.evaluation import ACTIVE_VARIANCE, Evaluation
from vae_models.results import EpochResult

__all__ = ["epoch_record", "evaluation_record", "latent_records"]


def epoch_record(result: EpochResult) -> EpochRecord:
    """One epoch of a training."""
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


def evaluation_record(
    evaluation: Evaluation, diagnostics: Diagnostics, learned: float | None
) -> EvaluationRecord:
    """The metrics of a trained model; `learned` is its decoder's variance where it learns it."""
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


def latent_records(
    evaluation: Evaluation, last_active_epochs: tuple[int, ...]
) -> list[LatentRecord]:
    """One record for each latent of a trained model."""
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
