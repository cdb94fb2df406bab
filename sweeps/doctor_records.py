"""Whether the record of a study is sound in itself (see `studies.invariants`)."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from studies.database import Database
from studies.invariants import INVARIANTS, broken_invariants
from studies.records import StudyRecord
from studies.repairs import close_open_attempts, drop_idle_leases, forget_early_tells
from sweeps.findings import Finding, all_fine, listed, problem

__all__ = ["check_records"]

_CHECK = "record"
_REPAIRS: Mapping[str, tuple[Callable[[Database, str], int], str]] = {
    "leased_at_rest": (drop_idle_leases, "ended {} leases that nobody holds"),
    "attempt_left_open": (close_open_attempts, "ended {} attempts that nobody makes"),
    "told_too_early": (forget_early_tells, "{} trials count as not told now"),
}


def check_records(db: Database, record: StudyRecord) -> Iterator[Finding]:
    """Yields what a study's record contradicts itself in."""
    broken = broken_invariants(db, record.name)
    for each in broken:
        message = f"{each.must}, but not {listed(each.numbers, each.count)}"
        known = _REPAIRS.get(each.name)
        yield problem(
            _CHECK,
            message,
            "--fix mends it" if known else "it was changed with other tools; restore a copy of it",
            repair=None if known is None else partial(_repair, db, record.name, *known),
        )
    if not broken:
        yield all_fine(_CHECK, f"it contradicts itself in none of {len(INVARIANTS)} ways")


def _repair(db: Database, study: str, repair: Callable[[Database, str], int], done: str) -> str:
    return done.format(repair(db, study))
