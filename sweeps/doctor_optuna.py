"""Whether our record of a study and Optuna's memory of it agree."""

import math
import uuid
from collections.abc import Callable, Iterator
from functools import partial

from studies.database import Database
from studies.records import StudyRecord
from studies.repairs import mark_untold
from sweeps.findings import Finding, all_fine, listed, note, problem
from sweeps.spec import Spec
from sweeps.two_sides import (
    Disagreements,
    Numbers,
    disagreements,
    has_optuna_tables,
    stray_studies,
)

__all__ = ["check_optuna_tables", "check_stray_studies", "check_study_of_optuna"]

_CHECK = "optuna"


def check_optuna_tables(db: Database) -> Iterator[Finding]:
    """Yields whether this machine's Optuna reads the tables that are there."""
    import optuna

    from sweeps.optuna_store import clear_optuna_faults, open_optuna_storage

    if not has_optuna_tables(db):
        yield problem(
            _CHECK,
            "Optuna's tables are not in the database",
            "they were not copied with ours, or deleted; reports do without, more trials do not",
        )
        return
    try:
        with clear_optuna_faults(db):
            open_optuna_storage(db.url).engine.dispose()
    except RuntimeError as error:  # of another version, says Optuna
        yield problem(
            _CHECK,
            f"Optuna's tables must be of a version that optuna {optuna.__version__} reads, but: "
            f"{str(error).splitlines()[0]}",
            "install the optuna that made them, or upgrade them: `optuna storage upgrade`",
        )
    else:
        yield all_fine(
            _CHECK, f"its tables are of a version that optuna {optuna.__version__} reads"
        )


def check_stray_studies(db: Database) -> Iterator[Finding]:
    """Yields the studies that only Optuna has."""
    for name, trials in stray_studies(db):
        yield note(
            _CHECK,
            f"Optuna has a study {name!r} of ours with {trials} trials that the record lacks",
            "`rdsweep run` with that name takes it up; Optuna's own commands delete it",
        )


def check_study_of_optuna(db: Database, record: StudyRecord) -> Iterator[Finding]:
    """Yields where both sides of a study disagree."""
    found = disagreements(db, record)
    if found.study_missing or found.study_foreign:
        what = "has none of that name" if found.study_missing else "has one that is not ours"
        yield problem(
            _CHECK,
            f"the study must have one of Optuna's beside it, but Optuna {what}",
            "its trials and reports are whole; more trials need a new name: --set study.name=…",
        )
        return
    wrong = [*_irreparable(found), *_reparable(db, record, found)]
    yield from wrong
    if not any(finding.level == "problem" for finding in wrong):
        yield all_fine(_CHECK, f"Optuna agrees with the record about {found.trials} trials")
    yield from _in_flight(db, record, found)


def _irreparable(found: Disagreements) -> Iterator[Finding]:
    kinds: tuple[tuple[Numbers, str, str], ...] = (
        (
            found.forgotten,
            "Optuna lacks {trials} of the record",
            "they were deleted there; trials and reports are whole, more need a new study name",
        ),
        (
            found.unknown,
            "Optuna has results of {trials} that the record lacks",
            "the record's rows were deleted; restore a copy of the database",
        ),
        (
            found.told_early,
            "Optuna has a result of {trials}, unfinished in the record",
            "another tool told it; the sampler will not learn from the true one, reports will",
        ),
        (
            found.told_otherwise,
            "Optuna was told something else than the record has of {trials}",
            "one side was changed: `rdsweep reproduce` tells whether the record was",
        ),
    )
    for numbers, message, remedy in kinds:
        if numbers:
            yield problem(_CHECK, message.format(trials=_trials(numbers)), remedy)


def _reparable(db: Database, record: StudyRecord, found: Disagreements) -> Iterator[Finding]:
    if found.not_told:
        yield problem(
            _CHECK,
            f"the record counts {_trials(found.not_told)} as told, but Optuna was not",
            "--fix tells it",
            repair=partial(_tell_again, db, record, found.not_told),
        )


def _in_flight(db: Database, record: StudyRecord, found: Disagreements) -> Iterator[Finding]:
    """What a desk sees to, where none is at work."""
    if found.sampler_held:
        return
    if found.untold:
        yield note(
            _CHECK,
            f"Optuna has not been told of {_trials(found.untold)}",
            "whoever asks it next tells it first; --fix does so now",
            repair=_telling(db, record),
        )
    if found.asked:
        yield note(
            _CHECK,
            f"Optuna suggested {_trials(found.asked)} that nobody queued yet",
            "whoever asks it next queues them first; `rdsweep run` goes on",
        )


def _trials(numbers: Numbers) -> str:
    return f"trial{'s' if numbers.count > 1 else ''} {listed(numbers.first, numbers.count)}"


def _tell_again(db: Database, record: StudyRecord, numbers: Numbers) -> str:
    mark_untold(db, record.name, numbers.first)
    return _telling(db, record)()


def _telling(db: Database, record: StudyRecord) -> Callable[[], str]:
    return partial(_tell, db, record)


def _tell(db: Database, record: StudyRecord) -> str:
    """Tells Optuna what it has not heard, unless somebody else is at it."""
    from sweeps.suggestions import SuggestionDesk

    desk = SuggestionDesk(
        db,
        db.url,
        study=record.name,
        spec=Spec.from_dict(record.spec),
        pixels=math.prod(record.data["image_shape"]),
        worker_id=f"doctor-{uuid.uuid4().hex[:12]}/desk",
        examples=record.data["train_size"],
    )
    try:
        told = desk.settle()
    finally:
        desk.close()
    return f"told Optuna {told} outcomes" if told else "whoever asks the sampler now tells it"
