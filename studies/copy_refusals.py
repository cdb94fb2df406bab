"""What may not be copied, and what to do instead: one line each, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, func, literal, select, union_all

from studies.clock import now
from studies.copy_side import Side
from studies.copy_standing import standing_of
from studies.errors import CopyError, StudyNotFound
from studies.faults import clear_faults
from studies.tables import LauncherRow, StudyRow, WorkerRow

_LEASE_SECONDS = 60.0  # of studies from before the spec said so


def refuse(study: str, name: str, pairs: Sequence[tuple[Side, Side]]) -> None:
    """Passes if a study may be copied.

    Args:
        study: Its name at the source.
        name: Its name at the target.
        pairs: The study at the source and at the target, in our record and then elsewhere.

    Raises:
        StudyNotFound: If there is no such study at the source.
        CopyError: If workers are at it, if the target has another study of that name, or the same
            under another name, or if the study has got further there.
    """
    source, target = pairs[0]
    if source.study_id is None:
        with clear_faults(source.where):
            known = source.connection.scalars(select(StudyRow.name).order_by(StudyRow.id)).all()
        raise StudyNotFound(study, known)
    _refuse_workers(source, study)
    _refuse_another_name(source, target, study, name)
    if target.study_id is not None:
        _refuse_workers(target, name)
        _refuse_another_study(source, target, study, name)
    for here, there in pairs:
        _refuse_older(here, there, study, name, known=target.study_id is not None)


def _refuse_workers(side: Side, name: str) -> None:
    """Workers would go on with what is being copied, and so there would be two of it."""
    alive = _alive(WorkerRow, side), _alive(LauncherRow, side)
    with clear_faults(side.where):
        workers, launchers = (side.connection.scalar(statement) or 0 for statement in alive)
    if not workers and not launchers:
        return
    who = f"{workers} of them" if workers else "a launcher (`rdsweep run`)"
    verb = "are" if workers > 1 else "is"
    raise CopyError(
        f"Nobody may be at work on a study while it is copied, but {who} {verb} at work on "
        f"{name!r} in {side.where}; `rdsweep stop {name}` first."
    )


def _alive(row: type[WorkerRow | LauncherRow], side: Side) -> Select[tuple[int]]:
    spec = side.study().get("spec") or {}
    lease = float(spec.get("run", {}).get("lease_seconds", _LEASE_SECONDS))
    return select(func.count()).where(
        row.study_id == side.study_id,
        row.ended_at.is_(None),
        now() - row.seen_at < lease,
    )
