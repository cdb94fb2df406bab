"""What is measured of a trained model beside R and D: what they are made of, and their limits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

from jaxtyping import Float
from torch import Tensor

from vae_models.aggregate_posterior import AggregatePosterior, aggregate_posterior
from vae_models.bce_floor import bce_floor_nats
from vae_models.collapse import Verdict, verdict_of
from vae_models.data import DataSet
from vae_models.encoding import encode_all
from vae_models.evaluation import ACTIVE_VARIANCE, Evaluation
from vae_models.evaluation_config import EvaluationConfig
from vae_models.exact_linear import exact_nll_nats
from vae_models.example_terms import evenly_spaced
from vae_models.generalisation import training_point
from vae_models.inference import inference
from vae_models.iwae import iwae_bound
from vae_models.likelihood_kinds import loss_note
from vae_models.vae import VAE

__all__ = ["Diagnostics", "diagnose"]


@final
@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """Diagnostics of a trained model, in nats per example; None where there is no such number.

    Attributes:
        mutual_information_nats: I(x; z), see `vae_models.aggregate_posterior`.
        marginal_kl_nats: KL(q(z) ‖ p(z)).
        total_correlation_nats: KL(q(z) ‖ Π_j q(z_j)).
        dimension_kl_nats: Σ_j KL(q(z_j) ‖ p(z_j)).
        diagnostic_examples: n, the held-out examples of these four and of the IWAE bound.
        iwae_nats: IWAE_k, a lower bound on ln p(x), see `vae_models.iwae`.
        iwae_stderr_nats: Its standard error over the examples.
        iwae_samples: k, the draws per example.
        exact_nll_nats: -ln p(x) without a bound, for linear Gaussian models.
        bce_floor_nats: The entropy of grey pixels, below which no cross-entropy can be.
        collapse: The verdict of `vae_models.collapse`.
        collapse_epoch: The first epoch without any active latent, only for ``collapsed``.
        train_rate_nats: R on training examples, see `vae_models.generalisation`.
        train_distortion_se: Squared error on them.
        train_distortion_nll_nats: NLL on them.
        mig: Mutual information gap, as all below only where the factors of the data are known.
        dci_disentanglement: See `vae_models.disentanglement`.
        dci_completeness: Likewise.
        dci_informativeness: Likewise.
        factorvae_score: Likewise.
        betavae_score: Likewise.
        notes: What to keep in mind when reading the numbers, a sentence each.
    """

    mutual_information_nats: float | None = None
    marginal_kl_nats: float | None = None
    total_correlation_nats: float | None = None
    dimension_kl_nats: float | None = None
    diagnostic_examples: int | None = None
    iwae_nats: float | None = None
    iwae_stderr_nats: float | None = None
    iwae_samples: int | None = None
    exact_nll_nats: float | None = None
    bce_floor_nats: float | None = None
    collapse: Verdict
    collapse_epoch: int | None = None
    train_rate_nats: float | None = None
    train_distortion_se: float | None = None
    train_distortion_nll_nats: float | None = None
    mig: float | None = None
    dci_disentanglement: float | None = None
    dci_completeness: float | None = None
    dci_informativeness: float | None = None
    factorvae_score: float | None = None
    betavae_score: float | None = None
    notes: tuple[str, ...] = ()


def diagnose(
    model: VAE,
    data: DataSet,
    evaluation: Evaluation,
    config: EvaluationConfig,
    *,
    last_active_epochs: Sequence[int],
    epochs: int,
    seed: int = 0,
) -> Diagnostics:
    """All diagnostics of a trained model.

    None of them stops a trial: a number that is not finite becomes None and a note.

    Args:
        model: The model, on any device.
        data: The data that it was trained on.
        evaluation: Of the model on the held-out split.
        config: What to spend.
        last_active_epochs: `Checkpoint.last_active_epochs` of the training.
        epochs: Epochs trained.
        seed: Of the draws.
    """
    images = data.heldout_images()
    some = evenly_spaced(images, config.diagnostic_examples)
    parts = aggregate_posterior(model, some, seed=seed) if len(some) else None
    numbers, unfit = _finite(
        {
            **_part_fields(parts),
            **_iwae_fields(model, some, config.iwae_samples, seed),
            "exact_nll_nats": exact_nll_nats(model, images),
            "bce_floor_nats": bce_floor_nats(model, data),
            **_training_fields(model, data, config.samples, seed),
            **(_scores(model, data, images, seed) if config.disentanglement else {}),
        }
    )
    active = [variance > ACTIVE_VARIANCE for variance in evaluation.latent_mean_variance]
    collapse = verdict_of(active, last_active_epochs, epochs)
    return Diagnostics(
        collapse=collapse.verdict,
        collapse_epoch=collapse.epoch,
        notes=(*_likelihood_notes(model, numbers["bce_floor_nats"]), *_part_notes(parts), *unfit),
        **numbers,
    )


def _part_fields(parts: AggregatePosterior | None) -> dict[str, float]:
    if parts is None:
        return {}
    return {
        "mutual_information_nats": parts.mutual_information_nats,
        "marginal_kl_nats": parts.marginal_kl_nats,
        "total_correlation_nats": parts.total_correlation_nats,
        "dimension_kl_nats": parts.dimension_kl_nats,
        "diagnostic_examples": parts.examples,
    }


def _iwae_fields(
    model: VAE, images: Float[Tensor, "n channel height width"], samples: int, seed: int
) -> dict[str, float]:
    if samples == 0 or len(images) == 0:
        return {}
    bound = iwae_bound(model, images, samples=samples, seed=seed)
    return {
        "iwae_nats": bound.nats,
        "iwae_stderr_nats": bound.stderr_nats,
        "iwae_samples": bound.samples,
    }


def _training_fields(model: VAE, data: DataSet, samples: int, seed: int) -> dict[str, float]:
    point = training_point(model, data, samples=samples, seed=seed)
    return {
        "train_rate_nats": point.rate_nats,
        "train_distortion_se": point.distortion_se,
        "train_distortion_nll_nats": point.distortion_nll_nats,
    }


def _scores(
    model: VAE, data: DataSet, images: Float[Tensor, "n channel height width"], seed: int
) -> dict[str, float | None]:
    """Disentanglement of the held-out posterior means, where the factors are known."""
    if data.factors is None:
        return {}
    from vae_models.disentanglement import scores  # scikit-learn takes a second to import

    with inference(model):
        codes = encode_all(model, images).mean.cpu().numpy()
    return asdict(scores(codes, data.factors.heldout, data.factors.sizes, seed=seed))


def _finite(found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The numbers, with None for those that are not finite, and a note on each of these."""
    unfit = {name: n for name, n in found.items() if n is not None and not math.isfinite(n)}
    notes = [f"`{name}` was {number} and is not stored." for name, number in unfit.items()]
    return {name: None if name in unfit else n for name, n in found.items()}, notes


def _likelihood_notes(model: VAE, floor: float | None) -> list[str]:
    note = loss_note(model.likelihood.amounts_to)
    notes = [] if note is None else [note]
    if floor is not None:
        notes.append(
            "The images are grey: their cross-entropy is no negative log-likelihood, so that the "
            f"ELBO and the IWAE bound are none on ln p(x); it cannot be below {floor:.6g} nats."
        )
    return notes


def _part_notes(parts: AggregatePosterior | None) -> list[str]:
    if parts is None or not parts.saturated:
        return []
    note = (
        f"I(x; z) = {parts.mutual_information_nats:.4g} nats is within 1 nat of "
        f"ln {parts.examples} = {math.log(parts.examples):.4g}, the most that {parts.examples} "
        "examples can show: it is larger, and the marginal KL is as much smaller. More "
        "held-out examples would tell."
    )
    return [note]
