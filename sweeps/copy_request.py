"""What `rdsweep db copy` was asked to do, checked before anything is written."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from studies.copying import Errand
from studies.database import Database, check_schema, open_database
from studies.errors import StorageError, StudyNotFound
from studies.records import StudyRecord
from studies.same_database import are_same
from studies.study_records import list_studies
from sweeps.command_options import next_command
from sweeps.errors import SweepError
from sweeps.living import living_launchers, living_workers
from sweeps.spec_sections import StudySpec

__all__ = ["chosen_studies", "errands_of", "open_both", "refuse_workers"]


def open_both(source: str, target: str) -> tuple[Database, Database]:
    """The two databases, of which the first has studies and the second is another one.

    Raises:
        StorageError: One of them cannot be opened, the first is not there, or both are the same.
        SchemaError: The first one's tables are missing or of another version.
    """
    here = open_database(source)
    if here.file is not None and not here.file.exists():
        message = f"The database to copy from must exist, but there is no file {here.file}."
        raise StorageError(message)
    check_schema(here)
    there = open_database(target)
    if are_same(here, there):
        message = (
            f"Studies are copied to another database, but both URLs name the same: {here.where}"
            + (f" is {there.where}." if here.where != there.where else ".")
        )
        raise StorageError(message)
    return here, there


def chosen_studies(db: Database, wanted: Sequence[str]) -> dict[str, StudyRecord]:
    """The studies to copy, by name: those that are wanted, or all of them.

    Raises:
        StudyNotFound: There is no study of a name that is wanted.
        SweepError: There is no study at all.
    """
    known = {record.name: record for record in list_studies(db)}
    for name in wanted:
        if name not in known:
            raise StudyNotFound(name, known)
    if not known:
        message = f"The database to copy from must have a study, but {db.where} has none."
        raise SweepError(message)
    return {name: known[name] for name in wanted or known}


def errands_of(studies: Sequence[str], renames: Sequence[str]) -> list[Errand]:
    """The studies with their names at the target.

    Args:
        studies: The names of the studies to copy.
        renames: New names, each as OLD=NEW.

    Raises:
        SweepError: A new name is none, is given to what is not copied, or is given twice.
    """
    names = {study: study for study in studies}
    for rename in renames:
        old, new = _old_and_new(rename, studies)
        names[old] = new
    _refuse_twice(names)
    return [Errand(study=study, name=name) for study, name in names.items()]


def refuse_workers(db: Database, study: str) -> None:
    """Passes unless somebody is at work on a study, and would go on with what is copied.

    Raises:
        SweepError: Workers, or a launcher that starts some, are alive.
    """
    try:
        workers, launchers = len(living_workers(db, study)), len(living_launchers(db, study))
    except StudyNotFound:
        return
    if not workers and not launchers:
        return
    kind, count = ("worker", workers) if workers else ("launcher", launchers)
    who = f"{count} {kind}s are" if count > 1 else f"1 {kind} is"
    remedy = next_command(["stop", study, "--wait"], db.url)
    message = (
        f"Nobody may be at work on a study that is copied, but {who} at work on {study!r} in "
        f"{db.where}; let them leave: `{remedy}`."
    )
    raise SweepError(message)


def _old_and_new(rename: str, studies: Sequence[str]) -> tuple[str, str]:
    old, _, new = rename.partition("=")
    if old not in studies:
        known = ", ".join(map(repr, studies))
        message = (
            f"--rename must be OLD=NEW with the name of a study that is copied, but got "
            f"{rename!r}; it is {known}."
        )
        raise SweepError(message)
    try:
        return old, StudySpec(name=new).name
    except ValidationError as error:
        message = f"--rename {old}=NEW: the new name {error.errors()[0]['msg']}."
        raise SweepError(message) from None


def _refuse_twice(names: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for study, name in names.items():
        if name in taken:
            message = (
                f"Every study must have a name of its own at the target, but {taken[name]!r} and "
                f"{study!r} would both be {name!r}; --rename one of them."
            )
            raise SweepError(message)
        taken[name] = study
