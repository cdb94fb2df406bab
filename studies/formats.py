"""Rows as text: an aligned table to read, or CSV, JSON and JSON lines with every digit.

A table rounds, says yes and no, and leaves missing values blank. The other formats lose nothing:
floats have as many digits as it takes to read the same float again, and missing values are empty
in CSV and null in JSON. JSON has no NaN and no infinity, so these are null there too.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from studies.errors import QueryError
from studies.filters import nearest_name, unknown_column
from studies.queries import COLUMNS, DISPLAY_COLUMNS
from studies.records import TrialRecord

Style = Literal["table", "csv", "json", "jsonl"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)

MAX_CELL = 40
"""Longer texts, as tracebacks, end with an ellipsis in a table."""

Rows = Sequence[Mapping[str, object]]


def render_rows(
    trials: Iterable[TrialRecord],
    *,
    columns: str | Sequence[str] | None = None,
    style: str = "table",
) -> str:
    """Return trials as text; by default the main columns in a table, and all of them elsewhere.

    Args:
        trials: What to show, in this order.
        columns: Which of `COLUMNS` and in which order: names, or one text with commas between.
        style: One of `STYLES`.

    Raises:
        QueryError: If a column or the style does not exist.
    """
    if style not in _RENDERERS:
        hint = nearest_name(style, STYLES) or f"there are {', '.join(STYLES)}."
        raise QueryError(f"A format must exist, but got {style!r}; {hint}")
    if columns is None:
        names: Sequence[str] = DISPLAY_COLUMNS if style == "table" else COLUMNS
    else:
        names = columns_of(columns)
    rows = [{name: getattr(trial, name) for name in names} for trial in trials]
    return _RENDERERS[style](rows, names)


def columns_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return column names, from a sequence or from a list with commas as ``number,beta``.

    Raises:
        QueryError: If there is none, or one that does not exist.
    """
    parts = names.split(",") if isinstance(names, str) else names
    found = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not found:
        raise QueryError(f"Columns must be names such as `number,beta`, but got {names!r}.")
    for name in found:
        if name not in COLUMNS:
            raise unknown_column(name, COLUMNS)
    return found


# --- For programs ---------------------------------------------------------------------------------


def _csv(rows: Rows, columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _csv_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case dict() | list() | tuple():
            return _json_text(value)
    return str(value)


def _json(rows: Rows, columns: Sequence[str]) -> str:
    lines = ",\n".join("  " + _json_row(row, columns) for row in rows)
    return f"[\n{lines}\n]\n" if lines else "[]\n"


def _jsonl(rows: Rows, columns: Sequence[str]) -> str:
    return "".join(_json_row(row, columns) + "\n" for row in rows)


def _json_row(row: Mapping[str, object], columns: Sequence[str]) -> str:
    return _json_text({column: row[column] for column in columns})


def _json_text(value: object) -> str:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:  # noqa: ANN401  (any JSON document)
    """Return a document with null for what JSON cannot say."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
    return value


# --- For people -----------------------------------------------------------------------------------


def _table(rows: Rows, columns: Sequence[str]) -> str:
    texts = [[_cell(column, row[column]) for column in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *texts, strict=True)]
    numeric = [all(_is_number(row[column]) for row in rows) for column in columns]
    rule = ["-" * width for width in widths]
    return "".join(_line(cells, widths, numeric) for cells in (columns, rule, *texts))


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    """Return one line: numbers to the right, where their digits meet, and texts to the left."""
    aligned = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "  ".join(aligned).rstrip() + "\n"


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(column: str, value: object) -> str:
    """Return a value as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float() if column.endswith("_at"):
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return _rounded(value)
        case dict() | list() | tuple():
            value = _json_text(value) if value else ""
    line = "".join(c if c.isprintable() else " " for c in str(value).strip())
    return line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"


def _rounded(value: float) -> str:
    """Return about four digits, and never an exponent where plain digits are as short."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 1e-4 <= abs(value) < 1e7:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:.{min(digits, 7)}f}"
    return f"{value:.3e}"


_RENDERERS: Final[Mapping[str, Callable[[Rows, Sequence[str]], str]]] = MappingProxyType(
    {"table": _table, "csv": _csv, "json": _json, "jsonl": _jsonl}
)
