"""The page of a report: what it says, and the template that says it."""

import base64
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, final

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports import numbers_text
from reports.comparison import compare
from reports.dossier import Dossier
from reports.front_tables import Table, diagnostics_table, weights_table
from reports.numbers_text import trimmed
from reports.settings_toml import settings_toml
from reports.troubles import MOST_LISTED, Trouble, troubles
from studies.records import TRIAL_STATES, TrialRecord

_GREY_BCE: Final = (
    "BCE here is not a likelihood. The data are not binarised, so the trials with a Bernoulli "
    "likelihood score grey pixels by binary cross-entropy: its smallest possible value is the "
    "entropy of the pixels, not 0, and neither their D in nats nor their ELBO compares with "
    "results on binarised data. Their squared error, MSE and PSNR are not affected."
)
_BINARY_BY_CONSTRUCTION: Final = ("sprites",)


@final
@dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure as it stands in the page: `image` is the whole SVG as a data URI, or None."""

    name: str
    title: str
    image: str | None
    alt: str
    caption: str
    files: tuple[str, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Fact:
    """A labelled value; the note beneath it is small."""

    label: str
    value: str
    note: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class FrontRow:
    """A front trial in the table, with its settings as TOML."""

    trial: TrialRecord
    cells: tuple[str, ...]
    toml: str


@final
@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the template prints."""

    study: str
    generated_at: str
    headline: tuple[Fact, ...]
    provenance: tuple[Fact, ...]
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]
    front_columns: tuple[str, ...]
    front: tuple[FrontRow, ...]
    weights: Table
    diagnostics: Table
    comparison: Table | None
    troubles: tuple[Trouble, ...]
    troubles_left_out: int
    query_for_more: str


def page_of(dossier: Dossier, panels: Sequence[Panel], generated_at: datetime) -> Page:
    """Returns the record of a report's page.

    Args:
        dossier: The study.
        panels: Its figures.
        generated_at: The time to print; an aware one is converted to UTC.
    """
    listed = troubles(dossier)
    name = shlex.quote(dossier.study.name)
    return Page(
        study=dossier.study.name,
        generated_at=_utc(generated_at),
        headline=_headline(dossier),
        provenance=_provenance(dossier),
        notes=_notes(dossier),
        panels=tuple(panels),
        front_columns=tuple(_cells(dossier, None)),
        front=tuple(_front_row(dossier, trial) for trial in dossier.front()),
        weights=weights_table(dossier.measured()),
        diagnostics=diagnostics_table(dossier.front(), dossier.latents),
        comparison=_comparison(dossier),
        troubles=listed[:MOST_LISTED],
        troubles_left_out=len(listed) - len(listed[:MOST_LISTED]),
        query_for_more=f"rdsweep query {name} --where \"state != 'complete' or collapsed\"",
    )


def render_page(page: Page) -> str:
    """Returns the page as one HTML document that refers to nothing outside itself."""
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["trimmed"] = numbers_text.trimmed
    return environment.get_template("report.html.j2").render(page=page)


def data_uri(svg: bytes) -> str:
    """Returns an SVG as an image address that needs no file and no network."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def _utc(moment: datetime) -> str:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.strftime("%Y-%m-%d %H:%M UTC")


def _headline(dossier: Dossier) -> tuple[Fact, ...]:
    states = [trial.state for trial in dossier.trials]
    counted = [(state, states.count(state)) for state in TRIAL_STATES]
    others = ", ".join(
        f"{number} {state}" for state, number in counted if number and state != "complete"
    )
    rate, distortion = dossier.reference
    area = dossier.hypervolume()
    measured = dossier.measured()
    best = max(
        (trial for trial in measured if trial.elbo_nats is not None),
        key=lambda trial: trial.elbo_nats or 0.0,
        default=None,
    )
    facts = [
        Fact(
            label="Trials complete",
            value=f"{states.count('complete')} of {dossier.study.trials_wanted}",
            note=others or ("" if states else "none has been suggested yet"),
        ),
        Fact(
            label="On the front",
            value=str(len(dossier.front())),
            note=f"of {len(measured)} measured; {len(dossier.collapsed())} collapsed",
        ),
        Fact(
            label="Hypervolume",
            value=numbers_text.short(area, 4),
            note=f"nats × {dossier.measure.unit}, up to R = {numbers_text.trimmed(rate, 4)}, "
            f"D = {numbers_text.trimmed(distortion, 4)}",
        ),
        Fact(
            label="Training time",
            value=numbers_text.duration(sum(trial.seconds for trial in dossier.trials)),
            note="summed over all trials",
        ),
    ]
    if best is not None and len({trial.likelihood for trial in measured}) == 1:
        value = f"{numbers_text.short(best.elbo_nats, 4)} nats"
        facts.append(Fact(label="Best ELBO", value=value, note=f"trial {best.number}"))
    return tuple(facts)


def _provenance(dossier: Dossier) -> tuple[Fact, ...]:
    study = dossier.study
    data = study.data
    shape = " × ".join(map(str, data.get("image_shape") or ())) or "unknown"
    likelihoods = sorted({trial.likelihood for trial in dossier.trials})
    versions = ", ".join(f"{name} {study.packages[name]}" for name in sorted(study.packages))
    return (
        Fact(
            label="Data set",
            value=str(data.get("name", "unknown")),
            note=f"{data.get('train_size', '?')} to train on, {data.get('heldout_size', '?')} "
            f"held out; shape {shape}",
        ),
        Fact(label="Data checksum", value=str(data.get("checksum", "unknown"))[:12]),
        Fact(label="Binarisation", value=str(data.get("binarisation", "unknown"))),
        Fact(label="Likelihoods", value=", ".join(likelihoods) or "–"),
        Fact(label="Distortion D", value=dossier.measure.long_name),
        Fact(label="Sampler", value=study.sampler),
        Fact(label="Versions", value=f"rdsweep {study.code_version}", note=versions),
    )


def _notes(dossier: Dossier) -> tuple[str, ...]:
    notes = []
    data = dossier.study.data
    grey = data.get("binarisation") == "none" and data.get("name") not in _BINARY_BY_CONSTRUCTION
    if grey and any(t.likelihood == "bernoulli" and not t.notes for t in dossier.trials):
        notes.append(_GREY_BCE)
    if dossier.refusal is not None:
        notes.append(dossier.refusal)
    notes += _trial_notes(dossier)
    if any(trial.state in {"queued", "running"} for trial in dossier.trials):
        notes.append("The sweep has not finished: this report shows what is stored so far.")
    return tuple(notes)


def _trial_notes(dossier: Dossier) -> list[str]:
    """Returns what trials noted of themselves, each sentence once with the trials it is about."""
    numbers: dict[str, list[int]] = {}
    for trial in dossier.measured():
        for note in trial.notes or ():
            numbers.setdefault(note, []).append(trial.number)
    return [f"{_trials_named(found)}: {note}" for note, found in numbers.items()]


def _trials_named(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"Trial {shown}" if len(numbers) == 1 else f"Trials {shown}"


def _comparison(dossier: Dossier) -> Table | None:
    comparison = compare(dossier)
    if comparison is None:
        return None
    measured = ("trials", "R (nats)", f"D ({dossier.measure.unit})", "active latents", "collapsed")
    rows = [
        (
            *group.values,
            str(group.trials),
            group.rate_nats.text(),
            group.distortion.text(),
            group.active_units.text(),
            str(group.collapsed),
        )
        for group in comparison.groups
    ]
    return Table(columns=(*comparison.columns, *measured), rows=tuple(rows))


def _front_row(dossier: Dossier, trial: TrialRecord) -> FrontRow:
    return FrontRow(
        trial=trial,
        cells=tuple(_cells(dossier, trial).values()),
        toml=settings_toml(trial.config),
    )


def _cells(dossier: Dossier, trial: TrialRecord | None) -> dict[str, str]:
    """Returns the table's cells by column; without a trial, empty cells for the header."""
    bits = any(front.bits_per_dim is not None for front in dossier.front())
    reused = any(front.reused_from is not None for front in dossier.front())
    columns = ["β", "R (nats)", "D (squared error)", "D (NLL, nats)", "ELBO (nats)", "MSE"]
    columns += ["PSNR (dB)", *(["bits per dim"] if bits else []), "active latents"]
    columns += ["regulariser", "reduction", "raw weight", "annealing", "likelihood", "σ²"]
    columns += ["prior", "posterior", "family"]
    columns += ["learning rate", "batch", "epochs", "seed", "time"]
    columns += ["taken over from"] if reused else []
    values = [""] * len(columns)
    if trial is not None:
        values = _values(trial, bits=bits) + ([trimmed(trial.reused_from)] if reused else [])
    return dict(zip(columns, values, strict=True))


def _values(trial: TrialRecord, *, bits: bool) -> list[str]:
    short = numbers_text.short
    with_error = numbers_text.with_error
    sigma2 = trial.sigma2 if trial.sigma2_learned is None else trial.sigma2_learned
    return [
        trimmed(trial.beta),
        with_error(trial.rate_nats, trial.rate_stderr_nats),
        with_error(trial.distortion_se, trial.distortion_se_stderr),
        with_error(trial.distortion_nll_nats, trial.distortion_nll_stderr_nats),
        short(trial.elbo_nats, 4),
        short(trial.mse),
        short(trial.psnr_db),
        *([short(trial.bits_per_dim, 4)] if bits else []),
        f"{'?' if trial.active_units is None else trial.active_units} of {trial.latent_dim}",
        trial.regulariser,
        trial.reduction,
        trimmed(trial.raw_weight),
        trial.annealing,
        trial.likelihood,
        trimmed(sigma2),
        trial.prior,
        trial.posterior,
        trial.family,
        trimmed(trial.learning_rate),
        str(trial.batch_size),
        str(trial.epochs),
        str(trial.seed),
        numbers_text.duration(trial.seconds),
    ]
