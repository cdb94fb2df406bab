"""Figures as files: PNG to show, SVG to put into a page, PDF to print; equal bytes every time."""

import io
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from reports import style

FORMATS: Final = ("png", "svg", "pdf")
_NO_METADATA: Final[dict[str, dict[str, str | None]]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write by itself: the date, and its own version."""


def save_figure(figure: Figure, folder: Path, name: str) -> bytes:
    """Writes ``folder/name.png``, ``.svg`` and ``.pdf`` and returns the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    _settle_layout(figure)
    contents = {kind: _rendered(figure, kind) for kind in FORMATS}
    for kind, content in contents.items():
        (folder / f"{name}.{kind}").write_bytes(content)
    return contents["svg"]


def remove_figure(folder: Path, name: str) -> None:
    """Removes the files of a figure that an earlier report drew and this one does not."""
    for kind in FORMATS:
        (folder / f"{name}.{kind}").unlink(missing_ok=True)


def _settle_layout(figure: Figure) -> None:
    """Places everything once; otherwise each of the formats would do it again."""
    with style.drawing_style():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _rendered(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    with style.drawing_style():
        figure.savefig(buffer, format=kind, dpi=style.PNG_DPI, metadata=_NO_METADATA[kind])
    return buffer.getvalue()
