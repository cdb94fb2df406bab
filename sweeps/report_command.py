"""``rdsweep report``: the report of a study, as it is now."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.command_options import Storage, Study

if TYPE_CHECKING:
    from studies.database import Database

__all__ = ["report", "write"]

Out = Annotated[Path | None, typer.Option(help="The directory; else STUDY-report.")]


def report(study: Study, out: Out = None, storage: Storage = None) -> None:
    """Write the report of a study: one HTML file, and its figures as PNG, SVG and PDF."""
    from sweeps.existing_database import existing_database

    typer.echo(write(existing_database(storage), study, out))


def write(db: "Database", study: str, out: Path | None) -> Path:
    """Writes the report and returns its HTML file.

    Args:
        db: the database.
        study: the study's name.
        out: the directory; None for one named after the study.

    Raises:
        SweepError: the directory cannot be written.
    """
    from reports.report import write_report
    from sweeps.errors import SweepError

    place = out or Path(f"{study}-report")
    try:
        return write_report(db, study, place)
    except OSError as error:
        message = f"The report's directory {str(place)!r} must be writable, but: {error.strerror}."
        raise SweepError(message) from error
