"""Tables of the front trials beside their metrics: weights for one's own code, and diagnostics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from reports.numbers_text import short, trimmed, with_error
from studies.records import LatentRecord, TrialRecord

_MOST_NAMED: Final = 12
_MOST_ROWS: Final = 200
_PLAIN_ERROR: Final = "mse"
_NLL: Final = "NLL, nats"
_SQUARED_ERROR: Final = "squared error, no ½"


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under their columns; no rows where there is nothing to say."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def weights_table(trials: Sequence[TrialRecord]) -> Table:
    """Returns the KL weight that gives each trial's model in every reduction.

    Only trials whose regulariser reads β have one; trials with the same weights share a row. A
    Gaussian trial has a second row, for codes that write its error as plain squared error.
    """
    numbers: dict[_Weights, list[int]] = {}
    for trial in trials:
        for weights in _weights_of(trial):
            numbers.setdefault(weights, []).append(trial.number)
    modes = list(dict.fromkeys(mode for row in numbers for mode, _ in row.by_mode))
    rows = [_cells(row, found, modes) for row, found in numbers.items()]
    columns = ("trials", "beside", "β", "t = βσ²", "β_norm", *modes)
    return Table(columns=columns, rows=tuple(rows[:_MOST_ROWS]))


def _cells(row: "_Weights", numbers: Sequence[int], modes: Sequence[str]) -> tuple[str, ...]:
    weights = dict(row.by_mode)
    values = [row.beta, row.level, row.beta_norm, *(weights.get(mode) for mode in modes)]
    return (_named(numbers), row.beside, *map(_four_digits, values))


def level_of(trial: TrialRecord) -> float | None:
    """Returns t = βσ², with the variance after training where it is learned; None without one."""
    if trial.level is not None or trial.beta is None or trial.sigma2_learned is None:
        return trial.level
    return trial.beta * trial.sigma2_learned


@final
@dataclass(frozen=True, kw_only=True)
class _Weights:
    """One row: the weights of a model by mode, beside one way of writing its error."""

    beside: str
    beta: float
    level: float | None
    beta_norm: float | None
    by_mode: tuple[tuple[str, float], ...]


def _weights_of(trial: TrialRecord) -> list[_Weights]:
    """Returns a row beside the NLL in nats, and one beside squared error, t being half its weight."""
    if not trial.weights or not trial.beta:
        return []
    level, found = level_of(trial), []
    if trial.likelihood != _PLAIN_ERROR:
        found.append(_scaled(trial, _NLL, 1.0, level))
    if level is not None:
        found.append(_scaled(trial, _SQUARED_ERROR, 2 * level / trial.beta, level))
    return found


def _scaled(trial: TrialRecord, beside: str, factor: float, level: float | None) -> _Weights:
    weights = trial.weights or {}
    return _Weights(
        beside=beside,
        beta=trial.beta or 0.0,
        level=level,
        beta_norm=trial.beta_norm,
        by_mode=tuple((mode, factor * weight) for mode, weight in weights.items()),
    )


def _named(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:6])) + (", …" if len(numbers) > 6 else "")


def _four_digits(value: float | None) -> str:
    return trimmed(value, 4)


def verdict_of(trial: TrialRecord, latents: Sequence[LatentRecord] = ()) -> str:
    """Returns what became of the latents, in a few words; which ones, where they are given."""
    if trial.collapse == "collapsed":
        return f"collapsed in epoch {trial.collapse_epoch}"
    if trial.collapse == "partial":
        return f"partial: {_inactive(trial, latents)}"
    return {"never_active": "never active", "none": "none"}.get(trial.collapse or "", "–")


def _inactive(trial: TrialRecord, latents: Sequence[LatentRecord]) -> str:
    numbers = [str(row.latent) for row in latents if not row.active]
    if not 0 < len(numbers) <= _MOST_NAMED:
        return f"{trial.latent_dim - (trial.active_units or 0)} inactive"
    return f"latent{'s' if len(numbers) > 1 else ''} {', '.join(numbers)} inactive"


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


def diagnostics_table(
    trials: Sequence[TrialRecord], latents: Mapping[int, Sequence[LatentRecord]]
) -> Table:
    """Returns what was measured of each trial beyond R and D; empty columns are left out.

    Args:
        trials: In the order of the rows.
        latents: By trial number; trials may lack them.
    """
    cells = {name: [read(trial) for trial in trials] for name, read in _DIAGNOSTICS.items()}
    cells["collapse"] = [verdict_of(trial, latents.get(trial.number, ())) for trial in trials]
    kept = {name: column for name, column in cells.items() if set(column) - {"–"}}
    rows = zip((str(trial.number) for trial in trials), *kept.values(), strict=True)
    return Table(columns=("trial", *kept), rows=tuple(rows) if kept else ())
