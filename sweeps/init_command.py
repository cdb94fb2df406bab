"""``rdsweep init``: a spec to begin with."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["init"]

SpecFile = Annotated[Path, typer.Argument(help="Where to write the spec.")]


def init(path: SpecFile = Path("sweep.toml")) -> None:
    """Write a spec with every setting, its default and a comment."""
    from importlib.resources import files

    from sweeps.errors import SweepError

    text = files("sweeps").joinpath("default_spec.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        message = f"`{path}` must not exist yet, but it does; name another file."
        raise SweepError(message) from None
    except OSError as error:
        message = f"`{path}` must be writable, but: {error.strerror}."
        raise SweepError(message) from error
    typer.echo(f"wrote {path}; start it with: rdsweep run {path}")
