"""Trials that gave no useful model, each with the reason, as far as the record knows it."""

from dataclasses import dataclass
from typing import Final, final

from reports.dossier import Dossier
from reports.numbers_text import short
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

    A linear VAE has collapsed at t = βσ² ≥ λ₁, the largest eigenvalue of the data's covariance
    (Lucas et al. 2019, "Don't blame the ELBO!", https://arxiv.org/abs/1911.02469).
    """
    text = f"None of {trial.latent_dim} latents is active; R = {short(trial.rate_nats)} nats."
    if trial.level is None or largest_eigenvalue is None:
        return text
    t, limit = short(trial.level), short(largest_eigenvalue)
    if trial.level >= largest_eigenvalue:
        return (
            f"{text} To be expected: t = βσ² = {t} is at or above λ₁ = {limit}, the largest "
            "variance in the data, where a linear VAE collapses as well. Lower β or σ²."
        )
    return (
        f"{text} Not the objective's doing: t = βσ² = {t} is below λ₁ = {limit}, where a linear "
        "VAE is still active. Try annealing, more epochs or another learning rate."
    )
