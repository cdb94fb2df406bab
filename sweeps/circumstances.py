"""With what a trial was trained, and whether that is what this process trains with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from studies.attempts import attempts_of
from studies.database import Database
from studies.records import StudyRecord, WorkerRecord
from studies.workers import list_workers
from sweeps.versions import process_versions

__all__ = ["ELSEWHERE", "SAME_GPU", "Circumstances", "circumstances_of", "trainers_of"]

_NO_PART_IN_NUMBERS = ("optuna", "sqlalchemy")
_BEFORE_PACKS = {"precision": "float32", "pack": "lone"}  # what a worker was that does not say

SAME_GPU: Final = 1e-3
"""Tolerance on one model of GPU: its sums may run in another order each time."""

ELSEWHERE: Final = 0.05
"""Tolerance elsewhere: what rounds otherwise trains, in the end, to another model as good."""


@final
@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What must hold of numbers that were trained then and are trained now.

    Attributes:
        device: this process's.
        threads: this process's.
        precision: of the matrix products, as the last worker had it.
        packed: whether to train as in a pack, as the last worker did.
        differences: what is not as it was then, a sentence each.
        tolerance: by how much a number may differ, relative to itself or to 1 if it is smaller;
            0 where every number must be equal bit for bit.
    """

    device: str
    threads: int
    precision: str
    packed: bool
    differences: Sequence[str]
    tolerance: float

    @property
    def exact(self) -> bool:
        """Whether every number must be equal bit for bit."""
        return self.tolerance == 0


def trainers_of(db: Database, study: str, number: int) -> list[WorkerRecord]:
    """The workers that trained a trial, as far as they are still registered, the last one last.

    Raises:
        StudyNotFound: there is no such study.
    """
    known = {worker.id: worker for worker in list_workers(db, study)}
    attempts = attempts_of(db, study, [number]).get(number, ())
    trained = [attempt for attempt in attempts if attempt.seconds > 0] or list(attempts)
    return [known[attempt.worker] for attempt in trained if attempt.worker in known]


def circumstances_of(
    record: StudyRecord,
    then: Sequence[WorkerRecord],
    device: str,
    threads: int,
    tolerance: float | None = None,
) -> Circumstances:
    """Compares this process with the workers that trained a trial, of which the last sets the mode.

    Args:
        record: The study, which knows the packages that it was made with.
        then: The workers that trained the trial, the last one last.
        device: Where this process trains.
        threads: Its CPU threads.
        tolerance: The user's choice; None for the one that the circumstances call for.
    """
    last = _BEFORE_PACKS | (then[-1].versions if then else {})
    precision, packed = str(last["precision"]), last["pack"] == "packed"
    now = process_versions(device, threads, precision, "packed" if packed else "lone")
    found: dict[str, None] = {}
    for worker in then:
        found.update(dict.fromkeys(_differences(_BEFORE_PACKS | worker.versions, now)))
        if kind_of(worker.device) != kind_of(device):
            found[f"it was trained on {worker.device}, and now is on {device}"] = None
    if not then:
        found.update(dict.fromkeys(_differences(record.packages, now)))
        found["no worker that trained it is registered any more"] = None
    fitting = SAME_GPU if kind_of(device) != "cpu" else 0.0
    return Circumstances(
        device=device,
        threads=threads,
        precision=precision,
        packed=packed,
        differences=list(found),
        tolerance=tolerance if tolerance is not None else ELSEWHERE if found else fitting,
    )


def kind_of(device: str) -> str:
    """The kind of a device, as "cuda" of "cuda:1"."""
    return device.partition(":")[0]


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, value in now.items():
        if name not in _NO_PART_IN_NUMBERS and name in then and then[name] != value:
            yield f"{name} was {then[name]}, and now is {value}"
