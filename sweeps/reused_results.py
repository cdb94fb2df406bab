"""The results of a trial that need no training: an equivalent one has been trained already."""

import math
from dataclasses import replace

from studies.database import Database
from studies.linear_vae import gaussian_nll
from studies.records import EvaluationRecord, Lease
from studies.reuse import evaluation_of, finished_equivalent, reuse_trial
from sweeps.equivalence import fixed_sigma2
from vae_models.config import TrialConfig

__all__ = ["reuse_results", "with_variance"]

_SAME = 1e-9


def reuse_results(db: Database, lease: Lease, pixels: int) -> bool:
    """Ends a trial with the results of an equivalent one; False where none has been trained.

    The rate, the squared error and all that belongs to the code are the other trial's; under
    another variance of the decoder the likelihoods are computed anew (`with_variance`). A trial
    whose equivalent diverged has diverged too.

    Args:
        db: Where the trials are.
        lease: The trial that would be trained.
        pixels: N = C·H·W of the data.

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
        before, now = _sigma2(source.config), _sigma2(lease.config)
        if before and now and not math.isclose(before, now, rel_tol=_SAME):
            evaluation = with_variance(evaluation_of(source), now, pixels)
    reuse_trial(db, lease, source.number, evaluation)
    return True


def with_variance(metrics: EvaluationRecord, sigma2: float, pixels: int) -> EvaluationRecord:
    """The metrics of the same encoder and decoder mean under another fixed Gaussian variance.

    ``NLL = SE/(2 sigma²) + (N/2) ln(2 pi sigma²)``, exactly, for held-out and training examples.
    No such formula gives the bound by importance sampling and the exact NLL: they are left out.

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
    )


def _sigma2(config: dict[str, object]) -> float | None:
    return fixed_sigma2(TrialConfig.from_dict(config).model)
