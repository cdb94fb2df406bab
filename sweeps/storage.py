"""Where a study is stored: which database URL holds, and which directory its files go to."""

import os
from pathlib import Path

from studies.database import Database
from sweeps.errors import SweepError
from sweeps.spec_sections import storage_problem

VARIABLE = "RDSWEEP_STORAGE"
DEFAULT = "sqlite:///rdsweep.db"


def storage_url(option: str | None, spec: str | None = None) -> str:
    """The database URL that holds: `--storage`, else `RDSWEEP_STORAGE`, else the spec's, else the default.

    Args:
        option: what `--storage` said, or None.
        spec: what the spec says, or None where there is no spec.

    Raises:
        SweepError: it is no URL of a database that rdsweep knows.
    """
    asked = [("--storage", option), (VARIABLE, os.environ.get(VARIABLE)), ("study.storage", spec)]
    origin, url = next(((name, value) for name, value in asked if value), ("", DEFAULT))
    problem = storage_problem(url)
    if problem:
        message = f"{origin}: {problem}."
        raise SweepError(message)
    return url


def artifacts_directory(db: Database, wanted: str) -> Path:
    """The absolute directory for checkpoints and logs.

    Args:
        db: the study's database.
        wanted: the spec's `study.artifacts`; empty means `<database file>-files` beside a SQLite
            file, and `rdsweep-files` in the working directory for other databases.
    """
    if wanted:
        return Path(wanted).expanduser().absolute()
    if db.file is None:
        return Path("rdsweep-files").absolute()
    return db.file.with_name(f"{db.file.name}-files")
