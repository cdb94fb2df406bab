"""Trials that gave no useful model, each with the reason, as far as the record knows it."""

from dataclasses import dataclass
from typing import Final, final

from reports.dossier import Dossier
from reports.numbers_text import short, trimmed
from studies.rate_distortion import collapse_level
from studies.records import TrialRecord

MOST_LISTED: Final = 200


@final
@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A collapsed, diverged or failed trial; `details` is the whole message if it is longer."""

    trial: TrialRecord
    kind: str
    reason: str
    details: str | None


def troubles(dossier: Dossier) -> tuple[Trouble, ...]:
    """Returns the collapsed, then the diverged, then the failed trials, each by number."""
    spectrum = dossier.study.spectrum
    largest = collapse_level(spectrum) if spectrum else None
    found = [
        Trouble(trial=t, kind="collapsed", reason=_why_collapsed(t, largest), details=None)
        for t in dossier.collapsed()
    ]
    for state in ("diverged", "failed"):
        found += [_from_error(t, state) for t in dossier.trials if t.state == state]
    return tuple(found)


def summary_line(message: str) -> str:
    """Returns the line that says most: a traceback's last, any other message's first."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "no reason was stored"
    return lines[-1] if lines[0].startswith("Traceback (most recent call last)") else lines[0]


def _from_error(trial: TrialRecord, state: str) -> Trouble:
    message = trial.error or ""
    reason = summary_line(message)
    details = message.strip() if message.strip() not in {"", reason} else None
    return Trouble(trial=trial, kind=state, reason=reason, details=details)


def _why_collapsed(trial: TrialRecord, largest_eigenvalue: float | None) -> str:
    """Returns a sentence; where σ² is fixed, the linear theory tells whose fault it was.

    The first unit of a linear VAE has Cov_x(E_q[u|x]) = 1 − t/λ₁ at t = βσ², with λ₁ the largest
    eigenvalue of the data's covariance (Lucas et al. 2019, "Don't blame the ELBO!",
    https://arxiv.org/abs/1911.02469); it counts as dead where that is at most the threshold.
    """
    text = f"None of {trial.latent_dim} latents is active; R = {short(trial.rate_nats)} nats."
    if trial.collapse == "never_active":
        text += " None ever was, in any epoch."
    if trial.collapse == "collapsed":
        text += f" The last one died in epoch {trial.collapse_epoch}."
    if trial.level is None or largest_eigenvalue is None:
        return text
    share = 1 - (trial.active_threshold or 0.0)
    limit = share * largest_eigenvalue
    t = f"t = βσ² = {short(trial.level, 4)}"
    factor = "" if share == 1 else f"{trimmed(share)} "
    bound = f"{factor}λ₁ = {short(limit, 4)} (λ₁ is the largest variance in the data)"
    if trial.level >= limit:
        return (
            f"{text} To be expected: {t} is at or above {bound}, where a linear VAE counts as "
            "collapsed as well. Lower β or σ²."
        )
    return (
        f"{text} Not the objective's doing: {t} is below {bound}, where a linear VAE is still "
        "active. Try annealing, more epochs or another learning rate."
    )
