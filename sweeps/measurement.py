"""What the held-out examples say of a trained model, as the records that the database takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from studies.records import EvaluationRecord, LatentRecord
from sweeps.annealing_end import annealing_note
from sweeps.outcome_records import evaluation_record, latent_records
from vae_models.checkpoints import Checkpoint
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.diagnostics import diagnose
from vae_models.errors import NonFiniteError
from vae_models.evaluation import Evaluation, evaluate
from vae_models.evaluation_config import EvaluationConfig
from vae_models.example_terms import ExampleTerms
from vae_models.vae import VAE

__all__ = ["Measurement", "divergence_after", "measure"]

_LEARNING_SIGMA2 = ("gaussian_learned", "gaussian_optimal")


@final
@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A trained model's metrics.

    Attributes:
        evaluation: what they were computed from.
        metrics: of the trial.
        latents: one record for each latent.
    """

    evaluation: Evaluation
    metrics: EvaluationRecord
    latents: Sequence[LatentRecord]


def measure(
    model: VAE,
    trained: Checkpoint,
    data: DataSet,
    config: TrialConfig,
    wanted: EvaluationConfig,
    terms: ExampleTerms | None = None,
) -> Measurement:
    """Measures a model after its last epoch.

    Args:
        model: It.
        trained: Its training.
        data: The data that it was trained on.
        config: The trial's settings.
        wanted: What to measure.
        terms: Of the held-out examples, where they are known already.

    Raises:
        NonFiniteError: One of the metrics is not finite: the trial has diverged.
    """
    evaluation = evaluate(model, data, samples=wanted.samples, terms=terms)
    diagnostics = diagnose(
        model,
        data,
        evaluation,
        wanted,
        last_active_epochs=trained.last_active_epochs,
        epochs=trained.epoch,
    )
    note = annealing_note(config, len(data.train))
    if note is not None:
        diagnostics = replace(diagnostics, notes=(*diagnostics.notes, note))
    learns = config.model.likelihood in _LEARNING_SIGMA2
    learned = model.likelihood.sigma2 if learns else None
    return Measurement(
        evaluation=evaluation,
        metrics=evaluation_record(evaluation, diagnostics, learned),
        latents=latent_records(evaluation, trained.last_active_epochs),
    )


def divergence_after(trained: Checkpoint, error: NonFiniteError) -> str:
    """What to record of a trial whose training went well and whose metrics are not finite."""
    return f"after epoch {trained.epoch}, step {trained.step}: {error}"
