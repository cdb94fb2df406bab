"""What may not be copied, and what to do instead: one line each, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from studies.copy_side import Side
from studies.copy_standing import standing_of
from studies.errors import StudiesError, StudyNotFound
from studies.faults import clear_faults
from studies.tables import StudyRow


class CopyError(StudiesError):
    """A study cannot be copied as it was asked for; the message is one line."""


def refuse(study: str, name: str, pairs: Sequence[tuple[Side, Side]]) -> None:
    """Passes if a study may be copied.

    Args:
        study: Its name at the source.
        name: Its name at the target.
        pairs: The study at the source and at the target: first our record, then Optuna's memory.

    Raises:
        StudyNotFound: If there is no such study at the source.
        CopyError: If the target has another study of that name, or the same one under another
            name, or if the study has got further there.
    """
    source, target = pairs[0]
    if source.study_id is None:
        with clear_faults(source.where):
            names = source.connection.scalars(select(StudyRow.name).order_by(StudyRow.id)).all()
        raise StudyNotFound(study, names)
    _refuse_second_name(source, target, study, name)
    known = target.study_id is not None
    if known and source.study()["created_at"] != target.study()["created_at"]:
        raise _another(target, "study", study, name)
    for here, there in pairs:
        _refuse_progress(here, there, study, name, known=known)


def _refuse_second_name(source: Side, target: Side, study: str, name: str) -> None:
    """The trials' UUIDs are unique in a database, so a study can be there once."""
    created_at = source.study()["created_at"]
    statement = select(StudyRow.name).where(
        StudyRow.created_at == created_at, StudyRow.name != name
    )
    with clear_faults(target.where):
        other = target.connection.scalars(statement).first()
    if other is not None:
        raise CopyError(
            f"A study must have one name in a database, but {study!r} is in {target.where} "
            f"already, as {other!r}; `--rename {study}={other}` brings that one up to date."
        )


def _refuse_progress(here: Side, there: Side, study: str, name: str, *, known: bool) -> None:
    """What only the target has would be lost."""
    standing = standing_of(here, there)
    must = f"Study {name!r} must not have got further in {there.where} than in {here.where}"
    if not known and (standing.apart or standing.target_ahead):
        raise _another(there, "study of Optuna's", study, name)
    if standing.both_ahead:
        raise CopyError(
            f"{must}, but it has got on in both ({standing.both_ahead}); to keep both, copy this "
            "one to an empty database."
        )
    if standing.target_ahead:
        raise CopyError(
            f"{must}, but it has ({standing.target_ahead}); copy it the other way round, or go on "
            "with that one."
        )


def _another(target: Side, what: str, study: str, name: str) -> CopyError:
    return CopyError(
        f"A study is copied over nothing but an earlier copy of itself, but {target.where} has "
        f"another {what} named {name!r}; give this one a new name there: "
        f"`--rename {study}={name}-2`."
    )
