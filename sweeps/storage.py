"""Where a study is stored: which database URL holds, and which store its files go to."""

import os
from pathlib import Path

from studies.database import Database
from sweeps.artifact_store import local_directory, store_url
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


def artifacts_url(db: Database, wanted: str) -> str:
    """The store of checkpoints and trained models: an absolute directory, or a URL.

    Args:
        db: the study's database.
        wanted: the spec's `study.artifacts`: a directory, ``file:///DIRECTORY`` or
            ``s3://BUCKET/PREFIX``; empty means `<database file>-files` beside a SQLite file, and
            `rdsweep-files` in the working directory for other databases.

    Raises:
        StoreError: it is no URL of a store, or holds a secret.
    """
    return store_url(wanted) if wanted else str(_own_directory(db))


def logs_directory(db: Database, artifacts: str, study: str) -> Path:
    """The directory on this machine for what a study's workers print.

    Args:
        db: the study's database.
        artifacts: the study's store; where it is no directory, the logs go to the default one.
        study: the study's name.
    """
    return (local_directory(artifacts) or _own_directory(db)) / study / "logs"


def _own_directory(db: Database) -> Path:
    if db.file is None:
        return Path("rdsweep-files").absolute()
    return db.file.with_name(f"{db.file.name}-files")
