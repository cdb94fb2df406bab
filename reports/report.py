"""A report of a study: one page that stands alone, and its figures as files."""

import os
from datetime import UTC, datetime
from pathlib import Path

from reports.dossier import gather_dossier
from reports.figure_files import FORMATS, remove_figure, save_figure
from reports.illustrations import Illustration, illustrations
from reports.page import Panel, data_uri, page_of, render_page
from studies.database import Database


def write_report(
    database: Database, study_name: str, out: Path, *, generated_at: datetime | None = None
) -> Path:
    """Writes ``out/report.html`` and ``out/figures/*.{png,svg,pdf}`` and returns the page's path.

    Works at any moment of a study's life, also before its first trial. The same database and
    time give the same bytes. Figures that an earlier report left in ``out`` and that this one
    cannot draw are removed.

    Args:
        database: Where the study is.
        study_name: Its name.
        out: The directory to write into; made if it is missing.
        generated_at: The time that the page prints; now, by default.

    Raises:
        StudyNotFound: There is no study of that name.
    """
    dossier = gather_dossier(database, study_name)
    figures = out / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    panels = [_panel(illustration, figures) for illustration in illustrations(dossier)]
    page = page_of(dossier, panels, generated_at or datetime.now(UTC))
    return _replace(out / "report.html", render_page(page))


def _panel(illustration: Illustration, figures: Path) -> Panel:
    image, files = None, []
    if illustration.figure is None:
        remove_figure(figures, illustration.name)
    else:
        image = data_uri(save_figure(illustration.figure, figures, illustration.name))
        files = [f"{figures.name}/{illustration.name}.{kind}" for kind in FORMATS]
    return Panel(
        name=illustration.name,
        title=illustration.title(),
        image=image,
        alt=illustration.alt,
        caption=illustration.caption,
        files=tuple(files),
    )


def _replace(path: Path, text: str) -> Path:
    """Writes a file so that a reader sees the old page or the new one, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path
