"""Tables of the front trials beside their metrics: weights for one's own code, and diagnostics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from reports.numbers_text import short, trimmed, with_error
from studies.records import TrialRecord


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under their columns; no rows where there is nothing to say."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def weights_table(trials: Sequence[TrialRecord]) -> Table:
    """Returns the KL weight that gives each trial's model in every reduction.

    Only trials whose regulariser reads β have one.
    """
    weighted = [trial for trial in trials if trial.weights]
    modes = list(dict.fromkeys(mode for trial in weighted for mode in trial.weights or ()))
    rows = [
        (
            str(trial.number),
            trimmed(trial.beta, 4),
            trimmed(trial.level, 4),
            trimmed(trial.beta_norm, 4),
            *(trimmed((trial.weights or {}).get(mode), 4) for mode in modes),
        )
        for trial in weighted
    ]
    return Table(columns=("trial", "β", "t = βσ²", "β_norm", *modes), rows=tuple(rows))


def verdict_of(trial: TrialRecord) -> str:
    """Returns what became of the latents, in a few words."""
    if trial.collapse == "collapsed":
        return f"collapsed in epoch {trial.collapse_epoch}"
    if trial.collapse == "partial":
        return f"partial: {trial.latent_dim - (trial.active_units or 0)} inactive"
    return {"never_active": "never active", "none": "none"}.get(trial.collapse or "", "–")


def _gap(heldout: float | None, train: float | None) -> str:
    if heldout is None or train is None:
        return "–"
    return short(heldout - train)


_DIAGNOSTICS: Final[Mapping[str, Callable[[TrialRecord], str]]] = {
    "I(x;z) (nats)": lambda t: short(t.mutual_information_nats),
    "KL(q(z)‖p(z)) (nats)": lambda t: short(t.marginal_kl_nats),
    "total correlation (nats)": lambda t: short(t.total_correlation_nats),
    "IWAE bound (nats)": lambda t: with_error(t.iwae_nats, t.iwae_stderr_nats),
    "k": lambda t: trimmed(t.iwae_samples),
    "exact −ln p (nats)": lambda t: short(t.exact_nll_nats, 4),
    "BCE floor (nats)": lambda t: short(t.bce_floor_nats, 4),
    "R gap (nats)": lambda t: _gap(t.rate_nats, t.train_rate_nats),
    "D gap (squared error)": lambda t: _gap(t.distortion_se, t.train_distortion_se),
    "collapse": verdict_of,
    "MIG": lambda t: short(t.mig, 2),
    "DCI disentanglement": lambda t: short(t.dci_disentanglement, 2),
    "DCI completeness": lambda t: short(t.dci_completeness, 2),
    "DCI informativeness": lambda t: short(t.dci_informativeness, 2),
    "FactorVAE score": lambda t: short(t.factorvae_score, 2),
    "β-VAE score": lambda t: short(t.betavae_score, 2),
}


def diagnostics_table(trials: Sequence[TrialRecord]) -> Table:
    """Returns what was measured of each trial beyond R and D; empty columns are left out."""
    cells = {name: [read(trial) for trial in trials] for name, read in _DIAGNOSTICS.items()}
    kept = {name: column for name, column in cells.items() if set(column) - {"–"}}
    rows = zip((str(trial.number) for trial in trials), *kept.values(), strict=True)
    return Table(columns=("trial", *kept), rows=tuple(rows) if kept else ())
