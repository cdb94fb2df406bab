"""The results of a trial that need no training: an equivalent one has been trained already."""

import math
from collections.abc import Iterator
from dataclasses import replace

from studies.database import Database
from studies.linear_vae import gaussian_nll
from studies.records import EvaluationRecord, Lease
from studies.reuse import evaluation_of, finished_equivalent, reuse_trial
from sweeps.annealing_end import annealing_note
from sweeps.equivalence import fixed_sigma2
from vae_models.config import TrialConfig
from vae_models.likelihood_kinds import AMOUNTS_TO, loss_note

__all__ = ["reuse_results", "taken_over", "with_variance"]

_SAME = 1e-9

_UNMEASURED = ("iwae_nats", "iwae_stderr_nats", "iwae_samples", "exact_nll_nats")
"""What no formula gives under another variance."""

_NOT_COMPUTED = "The IWAE bound and the exact NLL were not computed under this variance."


def reuse_results(db: Database, lease: Lease, pixels: int, examples: int) -> bool:
    """Ends a trial with the results of an equivalent one; False where none has been trained.

    The rate, the squared error and all that belongs to the code are the other trial's; under
    another variance of the decoder the likelihoods are computed anew (`with_variance`), and the
    notes are those that hold for this trial. A trial whose equivalent diverged has diverged too.

    Args:
        db: Where the trials are.
        lease: The trial that would be trained.
        pixels: N = C·H·W of the data.
        examples: Size of the training split.

    Raises:
        LeaseLost: Another worker has the trial now; nothing was written after that.
    """
    if lease.equivalence is None:
        return False
    source = finished_equivalent(db, lease.study, lease.equivalence)
    if source is None:
        return False
    evaluation = None
    if source.state == "complete":
        before, now = map(TrialConfig.from_dict, (source.config, lease.config))
        evaluation = taken_over(evaluation_of(source), before, now, pixels, examples)
    reuse_trial(db, lease, source.number, evaluation)
    return True


def taken_over(
    metrics: EvaluationRecord,
    before: TrialConfig,
    now: TrialConfig,
    pixels: int,
    examples: int,
) -> EvaluationRecord:
    """The metrics of a trial that is not trained, from those of an equivalent one.

    Args:
        metrics: Of the trial that was trained.
        before: Its settings.
        now: Settings of the trial that takes them over.
        pixels: N = C·H·W of the data.
        examples: Size of the training split.
    """
    taken = _under(metrics, before, now, pixels)
    return replace(taken, notes=tuple(_notes(taken, before, now, examples)))


def _under(
    metrics: EvaluationRecord, before: TrialConfig, now: TrialConfig, pixels: int
) -> EvaluationRecord:
    """The metrics under the taking trial's variance, which may be the same."""
    old, new = fixed_sigma2(before.model), fixed_sigma2(now.model)
    if not old or not new or math.isclose(old, new, rel_tol=_SAME):
        return metrics
    return with_variance(metrics, new, pixels)


def _notes(
    metrics: EvaluationRecord, before: TrialConfig, now: TrialConfig, examples: int
) -> Iterator[str]:
    """The notes of a trial as they hold for another one: of its own loss and weight in force."""
    own = _own_notes(before, examples)
    yield from _own_notes(now, examples)
    yield from (note for note in metrics.notes if note not in own)


def _own_notes(config: TrialConfig, examples: int) -> list[str]:
    found = (loss_note(AMOUNTS_TO.get(config.model.likelihood)), annealing_note(config, examples))
    return [note for note in found if note is not None]


def with_variance(metrics: EvaluationRecord, sigma2: float, pixels: int) -> EvaluationRecord:
    """The metrics of the same encoder and decoder mean under another fixed Gaussian variance.

    ``NLL = SE/(2 sigma²) + (N/2) ln(2 pi sigma²)``, exactly, for held-out and training examples.
    No such formula gives the bound by importance sampling and the exact NLL: they are left out,
    and a note says so where there were any. Notes on numbers of another variance are left out.

    Args:
        metrics: Under any fixed variance.
        sigma2: The variance, in squared model units.
        pixels: N.
    """
    nll = gaussian_nll(metrics.distortion_se, sigma2, pixels)
    train_se = metrics.train_distortion_se
    return replace(
        metrics,
        distortion_nll_nats=nll,
        distortion_nll_stderr_nats=metrics.distortion_se_stderr / (2 * sigma2),
        elbo_nats=-(nll + metrics.rate_nats),
        train_distortion_nll_nats=None
        if train_se is None
        else gaussian_nll(train_se, sigma2, pixels),
        iwae_nats=None,
        iwae_stderr_nats=None,
        iwae_samples=None,
        exact_nll_nats=None,
        notes=_notes_under_another_variance(metrics),
    )


def _notes_under_another_variance(metrics: EvaluationRecord) -> tuple[str, ...]:
    of_others = tuple(f"`{name}` " for name in (*_UNMEASURED, "train_distortion_nll_nats"))
    kept = [note for note in metrics.notes if not note.startswith(of_others)]
    lost = any(getattr(metrics, name) is not None for name in _UNMEASURED)
    return (*kept, _NOT_COMPUTED) if lost else tuple(kept)
