"""Where a study is stored: which database URL holds, and which directory its files go to."""

import os
from pathlib import Path

VARIABLE = "RDSWEEP_STORAGE"
DEFAULT = "sqlite:///rdsweep.db"


def storage_url(option: str | None, spec: str | None = None) -> str:
    """The database URL that holds: `--storage`, else `RDSWEEP_STORAGE`, else the spec's, else the default.

    Args:
        option: what `--storage` said, or None.
        spec: what the spec says, or None where there is no spec.
    """
    return option or os.environ.get(VARIABLE) or spec or DEFAULT


def sqlite_path(url: str) -> Path | None:
    """The absolute file path behind a SQLite URL; None for other databases."""
    scheme, separator, path = url.partition(":///")
    if not separator or not scheme.startswith("sqlite"):
        return None
    return Path(path.partition("?")[0]).absolute()


def absolute_url(url: str) -> str:
    """The same URL with SQLite's file path made absolute, so that workers may stand elsewhere."""
    path = sqlite_path(url)
    return url if path is None else f"{url.partition(':///')[0]}:///{path}"


def artifacts_directory(url: str, wanted: str) -> Path:
    """The absolute directory for checkpoints and logs.

    Args:
        url: the study's database.
        wanted: the spec's `study.artifacts`; empty means `<database file>-files` beside a SQLite
            file, and `rdsweep-files` in the working directory for other databases.
    """
    if wanted:
        return Path(wanted).expanduser().absolute()
    path = sqlite_path(url)
    if path is None:
        return Path("rdsweep-files").absolute()
    return path.with_name(f"{path.stem}-files")
