"""``rdsweep suggest``: what the data's spectrum says of a spec before anything is trained."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["suggest"]

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="The spec, a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: model.sigma2=0.5."),
]
OnlyToml = Annotated[bool, typer.Option("--toml", help="Only the lines to paste.")]


def suggest(spec: SpecFile, settings: Overrides = None, toml: OnlyToml = False) -> None:
    """Say at which beta latents die on a spec's data, and which ranges cover the curve."""
    from sweeps.spec import load_spec

    loaded = load_spec(spec, settings or [])
    from rich.console import Console

    from sweeps.annealing_end import unfinished_annealings
    from sweeps.curve_guide import range_notes
    from sweeps.errors import SweepWarning
    from sweeps.range_suggestions import render, suggestions_for
    from sweeps.redundancy import redundancies
    from sweeps.space import Space
    from sweeps.study_setup import check_data, reference_rate
    from vae_models.data import load_data

    with Console(stderr=True).status("reading the data …"):
        data = load_data(loaded.data)
        check_data(loaded, data)
        spectrum, rate = [float(value) for value in data.spectrum], reference_rate(data)
    examples = len(data.train)
    found = suggestions_for(
        loaded, spectrum, pixels=data.pixels, examples=examples, rate_nats=rate
    )
    typer.echo("\n".join(found.lines) if toml else render(found))
    notes = range_notes(loaded, spectrum, pixels=data.pixels, rate_nats=rate, examples=examples)
    twice = redundancies(loaded, Space(loaded, data.pixels, examples))
    for note in (*twice, *unfinished_annealings(loaded, examples), *notes):
        warnings.warn(note, SweepWarning, stacklevel=2)
