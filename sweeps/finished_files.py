"""What finished trials left in the artifact store although no record names it.

A worker deletes the checkpoints of a trial that ended; one that was killed at that moment, or a
trial that was given up because its workers died, leaves them.
"""

import re
from collections.abc import Iterator, Sequence

from studies.database import Database
from studies.queries import artifacts_of, query_trials, trials_by_number
from studies.records import FINISHED_STATES
from sweeps.artifact_store import ArtifactStore, StoredFile
from sweeps.trial_files import trial_folder

__all__ = ["tidy_finished", "unneeded_files"]

_FOLDER = re.compile(r"(?P<number>\d{5,})-[0-9a-f]{8}")


def unneeded_files(store: ArtifactStore, db: Database, study: str) -> list[StoredFile]:
    """The files of finished trials that no record names; whoever deletes them loses nothing.

    Files of trials that the database does not know are left out: they may be another database's.

    Raises:
        StoreError: the store cannot be read.
        StudyNotFound: there is no such study.
    """
    numbered = list(_numbered(store.keys(study)))  # before the record: a later file is not in it
    recorded = {artifact.path for artifact in artifacts_of(db, study, "checkpoint").values()}
    unnamed = [(number, file) for number, file in numbered if file.key not in recorded]
    folders = _finished_folders(db, study, {number for number, _ in unnamed})
    return [file for _, file in unnamed if file.key.rpartition("/")[0] in folders]


def tidy_finished(store: ArtifactStore, db: Database, study: str) -> int:
    """Deletes what `unneeded_files` finds and what killed writers left half-written; counts it.

    Raises:
        StoreError: the store cannot be read or written.
        StudyNotFound: there is no such study.
    """
    unneeded = unneeded_files(store, db, study)
    for file in unneeded:
        store.delete(file.key)
    left = {number for number, _ in _numbered([*unneeded, *store.keys(study)])}
    given_up = {trial.number for trial in query_trials(db, study, where="state == 'failed'")}
    folders = _finished_folders(db, study, left | given_up)
    return len(unneeded) + sum(map(store.clear_leftovers, sorted(folders)))


def _numbered(files: Sequence[StoredFile]) -> Iterator[tuple[int, StoredFile]]:
    """The files in folders of trials, with the numbers of those."""
    for file in files:
        found = _FOLDER.fullmatch(file.key.split("/")[1]) if file.key.count("/") == 2 else None
        if found is not None:
            yield int(found["number"]), file


def _finished_folders(db: Database, study: str, numbers: set[int]) -> set[str]:
    trials = trials_by_number(db, study, numbers).values()
    ended = [trial for trial in trials if trial.state in FINISHED_STATES]
    return {trial_folder(study, trial.number, trial.uuid) for trial in ended}
