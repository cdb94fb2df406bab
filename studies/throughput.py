"""How fast a study goes on: trials and epochs in its last hour of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.sql.elements import KeyedColumnElement  # noqa: F401

from studies.clock import now
from studies.database import Database
from studies.retries import retried
from studies.study_records import study_id_of
from studies.tables import AttemptRow, EpochRow, TrialRow

__all__ = ["Throughput", "throughput"]
