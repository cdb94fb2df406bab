"""Our record of a study as it is copied: a copy has no workers, so nothing in it is running.

A trial that was being trained is queued in the copy, and its attempt is closed as released, at the
end of its lease. Orders to stop and the sampler lease are for one database's workers, and stay
where they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar, cast, final

from sqlalchemy import ColumnElement, Connection, Table, and_, case, func, literal, null, select

from studies.copy_tables import Mark, Part, StudyTables
from studies.records import FINISHED_STATES
from studies.tables import (
    ArtifactRow,
    AttemptRow,
    Base,
    EpochRow,
    LatentRow,
    LauncherRow,
    StudyRow,
    TrialRow,
    WorkerRow,
)

COPIED = "copied to another database"
"""Why an attempt or a worker has ended in the copy."""

_BYTES_AN_EPOCH = 1_000


def _table(row: type[Base]) -> Table:
    return cast("Table", row.__table__)


def _of_trial(row: type[Base], **as_copied: ColumnElement[Any]) -> Part:
    keys = tuple(column.name for column in _table(row).primary_key if column.name != "trial_id")
    return Part(table=_table(row), owner="trial_id", order=keys, as_copied=as_copied)


def _of_study(row: type[Base], **as_copied: ColumnElement[Any]) -> Part:
    return Part(
        table=_table(row), owner="study_id", order=("id",), as_copied=as_copied, others_stay=True
    )


_running = TrialRow.state == "running"
_being_made = and_(_running, TrialRow.attempt == AttemptRow.attempt, AttemptRow.outcome.is_(None))
_worker_left = WorkerRow.ended_at.is_not(None)


@final
class RecordTables(StudyTables):
    """The tables of `studies.tables`."""

    label: ClassVar[str] = "trial"
    studies = _table(StudyRow)
    key = "id"
    name = "name"
    local = frozenset({"stop", "sampler_worker", "sampler_until"})
    study_parts = (
        _of_study(
            LauncherRow,
            ended_at=func.coalesce(LauncherRow.ended_at, LauncherRow.seen_at),
        ),
        _of_study(
            WorkerRow,
            ended_at=func.coalesce(WorkerRow.ended_at, WorkerRow.seen_at),
            reason=case((_worker_left, WorkerRow.reason), else_=literal(COPIED)),
            stop=case((_worker_left, WorkerRow.stop), else_=null()),
            note=case((_worker_left, WorkerRow.note), else_=null()),
        ),
    )
    trials = Part(
        table=_table(TrialRow),
        owner="study_id",
        order=("number",),
        generated="id",
        as_copied={
            "state": case((_running, literal("queued")), else_=TrialRow.state),
            "worker": case((_running, null()), else_=TrialRow.worker),
            "lease_until": case((_running, null()), else_=TrialRow.lease_until),
        },
    )
    trial_parts = (
        _of_trial(EpochRow),
        _of_trial(LatentRow),
        _of_trial(
            AttemptRow,
            ended_at=case((_being_made, TrialRow.lease_until), else_=AttemptRow.ended_at),
            outcome=case((_being_made, literal("released")), else_=AttemptRow.outcome),
            reason=case((_being_made, literal(COPIED)), else_=AttemptRow.reason),
        ),
        _of_trial(ArtifactRow),
    )

    def renamed(self, study: dict[str, Any], name: str) -> dict[str, Any]:
        """Returns the study with its new name in the spec."""
        spec = study["spec"]
        if "name" not in spec.get("study", {}):
            return study
        return study | {"spec": spec | {"study": spec["study"] | {"name": name}}}

    def content_bytes(self) -> ColumnElement[int]:
        """Returns the bytes of the trial's epochs and of its artifacts' content."""
        artifacts = (
            select(func.coalesce(func.sum(ArtifactRow.size), 0))
            .where(ArtifactRow.trial_id == TrialRow.id, ArtifactRow.content.is_not(None))
            .scalar_subquery()
        )
        return TrialRow.epoch * _BYTES_AN_EPOCH + artifacts

    def marks(self, connection: Connection, keys: Sequence[int]) -> dict[int, Mark]:
        """Returns the trials' UUIDs, attempts, and whether they are finished and told."""
        attempts: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
        for row in connection.execute(
            select(AttemptRow.trial_id, AttemptRow.worker, AttemptRow.started_at)
            .where(AttemptRow.trial_id.in_(keys))
            .order_by(AttemptRow.trial_id, AttemptRow.attempt)
        ):
            attempts[row.trial_id].append((row.worker, row.started_at))
        trials = connection.execute(
            select(TrialRow.id, TrialRow.number, TrialRow.uuid, TrialRow.state, TrialRow.told)
            .where(TrialRow.id.in_(keys))
            .order_by(TrialRow.number)
        )
        return {
            row.number: Mark(
                identity=row.uuid,
                history=tuple(attempts[row.id]),
                progress=(row.state in FINISHED_STATES, row.told),
            )
            for row in trials
        }
