"""What can go wrong between rdsweep and its database, each error writing its own sentence.

Every exception keeps its facts in `args`, so that it survives pickling on its way from a worker
process, and composes its message from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class StudiesError(Exception):
    """Base class of everything that the `studies` package raises on purpose."""


class StorageError(StudiesError):
    """The database cannot be opened, read or written; the message is one line."""


class TransientStorageError(StorageError):
    """The database did not do its part this time, and may the next: what `retries` repeats."""


class SchemaError(StudiesError):
    """The database's tables are missing, or of another version than this code.

    Args:
        where: The database's URL, without a password.
        found: Version of the tables in the database, or None if there are none.
        wanted: Version that this code reads and writes.
    """

    def __init__(self, where: str, found: str | None, wanted: str) -> None:
        super().__init__(where, found, wanted)
        self.where, self.found, self.wanted = where, found, wanted

    def __str__(self) -> str:
        if self.found is None:
            return (
                f"rdsweep's tables must exist in {self.where}, but there are no rdsweep tables; "
                "run a sweep there first (`rdsweep run SPEC`), or check the storage URL."
            )
        must = f"The tables in {self.where} must have version {self.wanted}"
        if self.found < self.wanted:
            return (
                f"{must}, but they have the older version {self.found}; "
                "`rdsweep run` brings them up to date."
            )
        return (
            f"{must}, but they have version {self.found}, which a newer rdsweep wrote; "
            "update rdsweep to read them."
        )


class StudyNotFound(StudiesError):  # noqa: N818  (reads as what happened)
    """No study has that name.

    Args:
        name: What was asked for.
        known: The names that do exist.
    """

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        known = tuple(known)
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        near = get_close_matches(self.name, self.known, n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif self.known:
            hint = "it has " + ", ".join(map(repr, self.known[:8])) + "."
        else:
            hint = "it has no study yet."
        return f"A study must exist before it is read, but got {self.name!r}; {hint}"


class StudyExists(StudiesError):  # noqa: N818  (reads as what happened)
    """A study of that name is there already.

    Args:
        name: The name that is taken.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"A new study's name must not be taken, but {self.name!r} exists already; "
            "continue it, or choose another name."
        )


class LeaseLost(StudiesError):  # noqa: N818  (reads as what happened)
    """A worker wrote to a trial that is no longer its own; nothing was changed.

    Args:
        study: Name of the study.
        number: Number of the trial.
        attempt: The attempt that lost its lease.
        worker_id: The worker that made this attempt.
    """

    def __init__(self, study: str, number: int, attempt: int, worker_id: str) -> None:
        super().__init__(study, number, attempt, worker_id)
        self.study, self.number = study, number
        self.attempt, self.worker_id = attempt, worker_id

    def __str__(self) -> str:
        return (
            f"A worker must hold the lease on a trial that it writes to, but worker "
            f"{self.worker_id!r} lost attempt {self.attempt} at trial {self.number} of study "
            f"{self.study!r}: the lease ran out or was taken from it."
        )


class SamplerLeaseLost(StudiesError):  # noqa: N818  (reads as what happened)
    """A desk queued a suggestion when the sampler lease was no longer its own.

    Args:
        study: Name of the study.
        holder: Who wanted to queue it.
    """

    def __init__(self, study: str, holder: str) -> None:
        super().__init__(study, holder)
        self.study, self.holder = study, holder

    def __str__(self) -> str:
        return (
            f"Suggestions for study {self.study!r} must be queued by the holder of its sampler "
            f"lease, but {self.holder!r} lost it."
        )


class NothingToReuse(StudiesError):  # noqa: N818  (reads as what happened)
    """A trial whose results another one was to take over has none to give.

    Args:
        study: Name of the study.
        number: Number of the trial without results of its own.
    """

    def __init__(self, study: str, number: int) -> None:
        super().__init__(study, number)
        self.study, self.number = study, number

    def __str__(self) -> str:
        return (
            "Only an equivalent trial that was trained to its end, complete or diverged, can be "
            f"reused, but trial {self.number} of study {self.study!r} is none."
        )


class RecordError(StudiesError):
    """A value that no column may hold: not finite, or of the wrong type.

    Args:
        record: What kind of record it stands in.
        field: Name of the field.
        must: The condition, as `isfinite(rate_nats)`.
        got: The value that broke it, as text.
    """

    def __init__(self, record: str, field: str, must: str, got: str) -> None:
        super().__init__(record, field, must, got)
        self.record, self.field, self.must, self.got = record, field, must, got

    def __str__(self) -> str:
        return f"`{self.must}` must hold for {self.record}, but got {self.field}={self.got}."


class QueryError(StudiesError):
    """A filter, a column name or an ordering that cannot be understood."""
