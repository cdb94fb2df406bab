"""``rdsweep convert``: what a KL weight in anybody's code means, and what it is elsewhere."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vae_models.conversion import Conversion

__all__ = ["convert"]

Reduction = Annotated[
    str,
    typer.Option(
        metavar="MODE",
        help="How the code reduces error and KL: sum, mean (over pixels and over latents), "
        "pixel_mean, latent_mean, batch_sum, kl_batch_sum, nll_batch_sum.",
    ),
]
Weight = Annotated[float, typer.Option(help="The factor before the KL in the code.")]
Pixels = Annotated[int, typer.Option(help="N, numbers per image: channels · height · width.")]
Latents = Annotated[int, typer.Option(help="M, numbers per latent vector.")]
Likelihood = Annotated[
    str, typer.Option(help="Of the error term: gaussian (or mse), bernoulli (or bce), …")
]
Sigma2 = Annotated[
    float | None, typer.Option(help="The error is SE/(2 sigma²); else SE, or SE/2 with --half.")
]
Half = Annotated[bool, typer.Option("--half", help="The code halves its squared error.")]
DataScale = Annotated[
    float, typer.Option(help="The model sees the data times this (255: pixels up to 255).")
]
Batch = Annotated[
    int | None, typer.Option(help="B, examples per step; counts in kl_batch_sum, nll_batch_sum.")
]
To = Annotated[
    str | None, typer.Option(metavar="MODE", help="Print first the weight in this mode, alone.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


_SPEC_NOTE = "(a spec's `gaussian` has sigma2 = 1: --half)"


def convert(
    reduction: Reduction,
    weight: Weight,
    pixels: Pixels,
    latents: Latents,
    likelihood: Likelihood = "gaussian",
    sigma2: Sigma2 = None,
    half: Half = False,
    data_scale: DataScale = 1.0,
    batch: Batch = None,
    to: To = None,
    as_json: AsJson = False,
) -> None:
    """Say what a KL weight means: canonical beta, t, and the same model's weight in any mode."""
    from vae_models.conversion import convert as converted

    conversion = converted(
        reduction=reduction,
        weight=weight,
        pixels=pixels,
        latents=latents,
        likelihood=likelihood,
        sigma2=sigma2,
        half=half,
        data_scale=data_scale,
        batch=batch,
    )
    wanted = None if to is None else _weight_in(conversion, to)
    if as_json:
        found = conversion.to_dict() | ({} if wanted is None else {"to": wanted})
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    first = [] if wanted is None else [f"{wanted:.12g}"]
    last = ["", _SPEC_NOTE] if likelihood == "gaussian" and sigma2 is None and not half else []
    typer.echo("\n".join([*first, *_lines(conversion), *last]))


def _weight_in(conversion: "Conversion", to: str) -> float:
    """The weight in the mode that `--to` names."""
    from vae_models.errors import ConfigError
    from vae_models.objective import REDUCTIONS

    if to not in REDUCTIONS:
        raise ConfigError.unknown("--to", to, REDUCTIONS)
    if to not in conversion.weights:
        raise ConfigError(f"`--batch` must be given with --to {to}, but got none.")
    return conversion.weight_in(to)


def _lines(conversion: "Conversion") -> Iterator[str]:
    t = "none" if conversion.t is None else f"{conversion.t:.6g}"
    rows = [
        ("beta", f"{conversion.beta:.6g}", "nats of NLL that a nat of KL counts, both summed"),
        ("t", t, "beta·sigma², in squared units of the data"),
        ("beta_norm", f"{conversion.beta_norm:.6g}", "beta·M/N"),
    ]
    weights = [(mode, f"{weight:.6g}", "") for mode, weight in conversion.weights.items()]
    yield from _aligned(rows)
    yield ""
    yield "the factor before the KL for the same model, by mode"
    yield from _aligned(weights)
    yield from _left_out(conversion)
    yield ""
    yield "the loss is equivalent to"
    yield from (f"- {sentence}" for sentence in conversion.sentences)


def _aligned(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    wide, high = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, note in rows:
        yield f"  {name:<{wide}}  {value:<{high}}  {note}".rstrip()


def _left_out(conversion: "Conversion") -> Iterator[str]:
    from vae_models.objective import BATCH_REDUCTIONS

    absent = [mode for mode in BATCH_REDUCTIONS if mode not in conversion.weights]
    if absent:
        yield f"  ({' and '.join(absent)} depend on the batch size: say --batch)"
