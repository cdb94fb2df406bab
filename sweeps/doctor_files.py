"""Whether the artifact store has what the record names, and what else lies there."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from sqlalchemy import select

from studies.artifact_contents import stored_contents
from studies.clock import now
from studies.database import Database
from studies.queries import artifacts_of, trials_by_number
from studies.records import FINISHED_STATES, ArtifactRecord, StudyRecord
from studies.tables import StudyRow, TrialRow
from studies.workers import list_workers
from sweeps.artifact_store import (
    ArtifactStore,
    KeyMissing,
    StoredFile,
    StoreError,
    local_directory,
    open_store,
)
from sweeps.doctor_disk import check_disk
from sweeps.findings import Finding, all_fine, listed, note, problem
from sweeps.finished_files import unneeded_files
from sweeps.trial_files import TrialFile, trial_folder

__all__ = ["check_files", "check_foreign_files"]

_CHECK = "files"
_TIDY_SECONDS = 60.0
"""A worker deletes a trial's checkpoints within this time of its end."""

_PART = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.part")
_FOLDER = re.compile(r"\d{5,}-[0-9a-f]{8}")
_RESTORE = "restore it from a copy; metrics and reports do without"


def check_files(db: Database, record: StudyRecord, *, deep: bool) -> Iterator[Finding]:
    """Yields what is wrong with a study's files.

    Args:
        db: Where the record is.
        record: The study.
        deep: Whether to read each file, and compare its checksum.
    """
    directory = local_directory(record.artifacts_url)
    try:
        store = open_store(record.artifacts_url)
        recorded = artifacts_of(
            db, record.name, "checkpoint"
        )  # before the files: those come first
        present = {file.key: file.size for file in _keys(store, record, recorded)}
    except StoreError as error:
        yield problem(_CHECK, str(error), "the record is whole; models cannot be read from here")
        return
    if directory is not None:
        yield from check_disk("disk", directory, "models and checkpoints")
    damaged = list(_damaged(store, recorded, present, deep=deep))
    yield from damaged
    if not damaged:
        how = "with the recorded checksums" if deep else "with the recorded sizes"
        yield all_fine(_CHECK, f"all {len(recorded)} recorded files are in {store.url}, {how}")
    if deep:
        yield from _contents(db, record.name)
    gone = {n for n, artifact in recorded.items() if artifact.path not in present}
    yield from _leftovers(store, db, record, spared=gone)
    if directory is not None:
        yield from _half_written(store, db, record.name, directory)


def _keys(
    store: ArtifactStore, record: StudyRecord, recorded: dict[int, ArtifactRecord]
) -> Iterator[StoredFile]:
    """The files below the study's folder, and below any other that its record names."""
    tops = {path.partition("/")[0] for a in recorded.values() if (path := a.path) is not None}
    for top in sorted(tops | {record.name}):
        yield from store.keys(top)


def _damaged(
    store: ArtifactStore,
    recorded: dict[int, ArtifactRecord],
    present: dict[str, int],
    *,
    deep: bool,
) -> Iterator[Finding]:
    missing, cut, changed = [], [], []
    for number, artifact in recorded.items():
        key = artifact.path or ""
        if key not in present:
            missing.append(number)
        elif present[key] != artifact.size:
            cut.append(number)
        elif deep and not _has_checksum(store, key, artifact.sha256):
            changed.append(number)
    for numbers, what in (
        (missing, "is missing"),
        (cut, "has another size than recorded"),
        (changed, "has another checksum than recorded"),
    ):
        if numbers:
            yield problem(_CHECK, f"the model of trial {listed(numbers)} {what}", _RESTORE)


def _has_checksum(store: ArtifactStore, key: str, sha256: str) -> bool:
    try:
        return hashlib.sha256(store.get(key)).hexdigest() == sha256
    except KeyMissing:
        return False


def _contents(db: Database, study: str) -> Iterator[Finding]:
    """What is kept in the database itself."""
    changed, count = [], 0
    for stored in stored_contents(db, study):
        count += 1
        if hashlib.sha256(stored.content).hexdigest() != stored.sha256:
            changed.append(f"{stored.number} ({stored.kind})")
    if changed:
        what = f"pictures of trial {listed(changed)} have another checksum than recorded"
        yield problem(_CHECK, what, "restore a copy of the database")
    else:
        yield all_fine(_CHECK, f"all {count} pictures in the database have the recorded checksums")


def _leftovers(
    store: ArtifactStore, db: Database, record: StudyRecord, spared: set[int]
) -> Iterator[Finding]:
    """Checkpoints of finished trials, unless a worker is about to delete them."""
    files = [file for file in unneeded_files(store, db, record.name) if TrialFile.of(file.key)]
    spared = spared | _lately_finished(db, record.name, {_number(file.key) for file in files})
    files = [file for file in files if _number(file.key) not in spared]
    if files:
        numbers = sorted({_number(file.key) for file in files})
        yield note(
            _CHECK,
            f"{len(files)} checkpoints ({_size(files)}) of finished trials that no record needs: "
            f"trial {listed(numbers)}",
            "--fix deletes them, and so does `rdsweep run` at its end",
            repair=partial(_delete, store, files),
        )


def _delete(store: ArtifactStore, files: Sequence[StoredFile]) -> str:
    for file in files:
        store.delete(file.key)
    return f"deleted {len(files)} checkpoints ({_size(files)}) of finished trials"


def _lately_finished(db: Database, study: str, numbers: set[int]) -> set[int]:
    """Those that ended a moment ago, while there are workers that tidy up after themselves."""
    if not numbers or not list_workers(db, study, ended=False):
        return set()
    with db.read() as connection:
        moment = connection.scalar(select(now())) or 0.0
    trials = trials_by_number(db, study, numbers).values()
    return {t.number for t in trials if (t.finished_at or moment) > moment - _TIDY_SECONDS}


def _half_written(
    store: ArtifactStore, db: Database, study: str, directory: Path
) -> Iterator[Finding]:
    """What killed writers left in the folders of trials that have ended."""
    found: dict[str, int] = {}
    for path in Path(directory, study).glob("*/.*.part"):
        name = _PART.fullmatch(path.name)
        if name is not None and TrialFile.of(name["name"]) is not None:
            folder = f"{study}/{path.parent.name}"
            found[folder] = found.get(folder, 0) + 1
    numbers = {
        _number(f"{folder}/") for folder in found if _FOLDER.fullmatch(folder.split("/")[1])
    }
    ended = {
        trial_folder(study, trial.number, trial.uuid)
        for trial in trials_by_number(db, study, numbers).values()
        if trial.state in FINISHED_STATES
    }
    folders = sorted(found.keys() & ended)
    if folders:
        yield note(
            _CHECK,
            f"{sum(found[folder] for folder in folders)} half-written files of killed writers "
            f"in {listed(folders)}",
            "--fix deletes them",
            repair=partial(_clear, store, folders),
        )


def _clear(store: ArtifactStore, folders: Sequence[str]) -> str:
    return f"deleted {sum(map(store.clear_leftovers, folders))} half-written files"


def check_foreign_files(db: Database, records: Sequence[StudyRecord]) -> Iterator[Finding]:
    """Yields files of trials that this database does not know; only of directories.

    They are of a deleted study, or of another database: nothing here proves which, so nobody
    deletes them.
    """
    urls = {record.artifacts_url for record in records if local_directory(record.artifacts_url)}
    known = _known_folders(db) if urls else set()
    for url in sorted(urls):
        try:
            files = [file for file in open_store(url).keys("") if _is_of_trial(file.key)]
        except StoreError:
            continue  # `check_files` has said so
        strange = [file for file in files if file.key.rpartition("/")[0] not in known]
        if strange:
            folders = sorted({file.key.rpartition("/")[0] for file in strange})
            yield note(
                _CHECK,
                f"{len(strange)} files ({_size(strange)}) in {url} are of trials that are in no "
                f"study here: {listed(folders)}",
                "of a deleted study or another database; delete them if you know that none has them",
            )


def _known_folders(db: Database) -> set[str]:
    with db.read() as connection:
        rows = connection.execute(
            select(StudyRow.name, TrialRow.number, TrialRow.uuid).join_from(TrialRow, StudyRow)
        )
        return {trial_folder(*row) for row in rows}


def _is_of_trial(key: str) -> bool:
    parts = key.split("/")
    return (
        len(parts) == 3
        and _FOLDER.fullmatch(parts[1]) is not None
        and TrialFile.of(parts[2]) is not None
    )


def _number(key: str) -> int:
    """The trial's number in the key of one of its files."""
    return int(key.split("/")[1].partition("-")[0])


def _size(files: Sequence[StoredFile]) -> str:
    return f"{sum(file.size for file in files) / 2**20:.1f} MiB"
