"""Copies of a finished sweep that a test may damage, and what the doctor says of them."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from studies.database import Database, open_database
from studies.queries import query_trials
from studies.records import TrialRecord
from sweeps.doctor import examine
from sweeps.findings import Finding
from sweeps.trial_files import trial_folder

STUDY = "small"


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A database with one study, "small", and its files.

    Attributes:
        url: of the database.
        files: the study's artifact store.
    """

    url: str
    files: Path

    @classmethod
    def copy_of(cls, finished: Path, folder: Path) -> "Patient":
        """A copy of a sweep's folder, with files of its own."""
        shutil.copytree(finished, folder)
        patient = cls(url=f"sqlite:///{folder / 'rdsweep.db'}", files=folder / "rdsweep.db-files")
        patient.sql("UPDATE rdsweep_studies SET artifacts_url = :files", files=str(patient.files))
        return patient

    def open(self) -> Database:
        """The database."""
        return open_database(self.url)

    def sql(self, statement: str, **values: Any) -> None:
        """Changes something behind everybody's back."""
        db = self.open()
        with db.write() as connection:
            connection.execute(text(statement), values)
        db.close()

    def one(self, statement: str) -> Any:
        """The first value of a query's first row."""
        db = self.open()
        with db.read() as connection:
            found = connection.scalar(text(statement))
        db.close()
        return found

    def trials(self) -> list[TrialRecord]:
        """The study's trials."""
        db = self.open()
        found = query_trials(db, STUDY)
        db.close()
        return found

    def folder(self, number: int) -> Path:
        """The folder of a trial's files."""
        trial = self.trials()[number]
        return self.files / trial_folder(STUDY, number, trial.uuid)

    def model(self, number: int) -> Path:
        """The file of a trial's trained model."""
        (found,) = self.folder(number).glob("model-*.safetensors")
        return found

    def examined(self, **options: Any) -> list[Finding]:
        """All that the doctor says."""
        return list(examine(self.url, **options))

    def complaints(self, **options: Any) -> list[Finding]:
        """What the doctor finds wrong or notable, and no repair has put right."""
        return [finding for finding in self.examined(**options) if finding.level != "ok"]

    def complaint(self, **options: Any) -> Finding:
        """The only one."""
        (found,) = self.complaints(**options)
        return found

    def fixed(self) -> list[str]:
        """What the doctor puts right, and what is left is nothing."""
        findings = self.examined(fix=True)
        assert [finding for finding in findings if finding.level != "ok"] == []
        assert self.complaints() == []
        return [finding.fixed for finding in findings if finding.fixed]


def write(path: Path, content: bytes = b"x" * 100) -> Path:
    """Makes a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def damage(path: Path, at: int, length: int = 4000) -> None:
    """Overwrites a piece of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(length))
