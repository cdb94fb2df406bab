"""From rows to trial records: the one place that knows how the two correspond."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Row, Select, select

from studies.records import TrialRecord
from studies.tables import StudyRow, TrialRow

_COLUMNS = [
    StudyRow.name.label("study") if field.name == "study" else getattr(TrialRow, field.name)
    for field in fields(TrialRecord)
]


def select_trials() -> Select[Any]:
    """Returns the statement that selects all trials; add `where` and `order_by`."""
    return select(*_COLUMNS).join_from(TrialRow, StudyRow, TrialRow.study_id == StudyRow.id)


def trial_record(row: Row[Any]) -> TrialRecord:
    """Returns the record of a row that `select_trials` selected."""
    return TrialRecord(**row._asdict())
