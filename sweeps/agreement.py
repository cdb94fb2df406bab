"""Numbers that were stored beside the same numbers again: where they differ, and by how much."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, final

from studies.records import EpochRecord, EvaluationRecord, LatentRecord
from sweeps.rerun import Ending

__all__ = ["DECISIVE", "Agreement", "Pair", "agreement_of"]

DECISIVE: Final = (
    "rate_nats",
    "distortion_se",
    "distortion_nll_nats",
    "elbo_nats",
    "present",
)
"""What a tolerance is for; all else may jump where a number close to a threshold moves."""

_TIMES = ("seconds",)
_EPOCH = [field.name for field in fields(EpochRecord) if field.name not in _TIMES]
_LATENT = [field.name for field in fields(LatentRecord)]
_METRICS = [field.name for field in fields(EvaluationRecord)]


@final
@dataclass(frozen=True, kw_only=True)
class Pair:
    """One value, stored and again.

    Attributes:
        place: "metrics", "epoch 3" or "latent 2".
        name: of the value.
        stored: as the database has it.
        again: as it came out.
    """

    place: str
    name: str
    stored: Any
    again: Any

    @property
    def same(self) -> bool:
        """Whether both are equal, bit for bit; what was not stored cannot differ."""
        if isinstance(self.stored, float) and isinstance(self.again, float):
            return self.stored.hex() == self.again.hex()
        return self.stored is None or bool(self.stored == self.again)

    @property
    def difference(self) -> float | None:
        """The difference relative to the stored number, or to 1 if it is smaller."""
        if self.same:
            return 0.0
        try:
            stored, again = float(self.stored), float(self.again)
        except (TypeError, ValueError):
            return None
        return abs(again - stored) / max(1.0, abs(stored))

    def within(self, tolerance: float) -> bool:
        """Whether the difference is no larger than the tolerance, or not to be judged by it."""
        if self.same:
            return True
        if tolerance == 0:
            return False
        if self.name not in DECISIVE:
            return True
        difference = self.difference
        return difference is not None and difference <= tolerance


@final
@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A trial as it is stored beside the trial as it came out again.

    Attributes:
        stored_state: "complete" or "diverged".
        again_state: likewise.
        stored_error: where it diverged then.
        again_error: where it diverged now.
        pairs: every value of both: metrics, then epochs, then latents.
        tolerance: by how much decisive numbers may differ; 0 where every bit must be equal.
    """

    stored_state: str
    again_state: str
    stored_error: str | None
    again_error: str | None
    pairs: Sequence[Pair]
    tolerance: float

    @property
    def bit_for_bit(self) -> bool:
        """Whether nothing differs at all."""
        return self._same_end and all(pair.same for pair in self.pairs)

    @property
    def equal(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        ends_alike = self._same_end or (
            self.tolerance > 0 and self.stored_state == self.again_state
        )
        return ends_alike and not self.beyond

    @property
    def beyond(self) -> list[Pair]:
        """What differs by more than the tolerance."""
        return [pair for pair in self.pairs if not pair.within(self.tolerance)]

    @property
    def differing(self) -> list[Pair]:
        """What differs at all."""
        return [pair for pair in self.pairs if not pair.same]

    @property
    def largest(self) -> Pair | None:
        """The decisive number, or else the number, that differs most; None where none does."""
        numbers = [pair for pair in self.differing if pair.difference is not None]
        decisive = [pair for pair in numbers if pair.name in DECISIVE]
        return max(decisive or numbers, key=lambda pair: pair.difference or 0.0, default=None)

    @property
    def _same_end(self) -> bool:
        return (self.stored_state, self.stored_error) == (self.again_state, self.again_error)


def agreement_of(stored: Ending, again: Ending, *, tolerance: float) -> Agreement:
    """Sets what is stored of a trial beside what came out again.

    Args:
        stored: As the database has it.
        again: As it came out.
        tolerance: By how much decisive numbers may differ; 0 for not at all. With one, a trial
            that diverges may do so at another step.
    """
    metrics = _pairs("metrics", _METRICS, _values(stored.metrics), _values(again.metrics))
    epochs = _series("epoch", _EPOCH, stored.epochs, again.epochs)
    if tolerance > 0 and stored.state == again.state == "diverged":
        epochs = (pair for pair in epochs if pair.name != "present")
    latents = _series("latent", _LATENT, stored.latents, again.latents)
    return Agreement(
        stored_state=stored.state,
        again_state=again.state,
        stored_error=stored.error,
        again_error=again.error,
        pairs=[*metrics, *epochs, *latents],
        tolerance=tolerance,
    )


def _series(
    key: str,
    names: Iterable[str],
    stored: Sequence[EpochRecord] | Sequence[LatentRecord],
    again: Sequence[EpochRecord] | Sequence[LatentRecord],
) -> Iterator[Pair]:
    """The values of epochs or latents, of those that only one side has too."""
    before = {getattr(record, key): _values(record) for record in stored}
    after = {getattr(record, key): _values(record) for record in again}
    for index in sorted(before.keys() | after.keys()):
        place = f"{key} {index}"
        if index in before and index in after:
            yield from _pairs(place, names, before[index], after[index])
        else:
            yield Pair(place=place, name="present", stored=index in before, again=index in after)


def _pairs(
    place: str, names: Iterable[str], stored: Mapping[str, Any], again: Mapping[str, Any]
) -> Iterator[Pair]:
    for name in names if stored or again else ():
        yield Pair(place=place, name=name, stored=stored.get(name), again=again.get(name))


def _values(record: EpochRecord | LatentRecord | EvaluationRecord | None) -> dict[str, Any]:
    return {} if record is None else asdict(record)
