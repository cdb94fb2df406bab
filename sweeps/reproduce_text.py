"""A reproduction for people, and as JSON for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

from sweeps.agreement import DECISIVE, Agreement, Pair
from sweeps.circumstances import Circumstances
from sweeps.reproduce import Reproduction

__all__ = ["as_object", "as_text"]

_MOST_ROWS = 12


def as_text(found: Reproduction) -> str:
    """What was trained, under what circumstances, a table of what counts, and the verdict."""
    return "\n".join(_lines(found, found.agreement))


def as_object(found: Reproduction) -> dict[str, Any]:
    """All of it, every value included."""
    agreement, circumstances = found.agreement, found.circumstances
    return {
        "study": found.trial.study,
        "number": found.trial.number,
        "trained": found.source.number,
        "device": circumstances.device,
        "threads": circumstances.threads,
        "precision": circumstances.precision,
        "packed": circumstances.packed,
        "differences": list(circumstances.differences),
        "tolerance": agreement.tolerance,
        "equal": agreement.equal,
        "bit_for_bit": agreement.bit_for_bit,
        "stored": {"state": agreement.stored_state, "error": agreement.stored_error},
        "again": {"state": agreement.again_state, "error": agreement.again_error},
        "values": [_pair_object(pair) for pair in agreement.pairs],
    }


def _pair_object(pair: Pair) -> dict[str, Any]:
    return {
        "place": pair.place,
        "name": pair.name,
        "stored": pair.stored,
        "again": pair.again,
        "difference": pair.difference,
    }


def _lines(found: Reproduction, agreement: Agreement) -> Iterator[str]:
    trial, source = found.trial, found.source
    yield f"trial {trial.number} of study {trial.study}, {_again(found)}"
    if source is not trial:
        yield f"it was not trained: its results are those of trial {source.number}, as here"
    yield _expectation(found.circumstances)
    yield from (f"- {difference}" for difference in found.circumstances.differences)
    yield ""
    if "diverged" in (agreement.stored_state, agreement.again_state):
        yield from _ends(agreement)
    yield from _table(_rows(agreement))
    if more := len(agreement.differing) - _MOST_ROWS:
        yield from [f"  and {more} more values differ (--json has all)"] * (more > 0)
    yield ""
    yield _verdict(agreement)


def _again(found: Reproduction) -> str:
    here = found.circumstances
    where = f"{here.threads} thread{'s' if here.threads > 1 else ''}"
    device = here.device if here.device != "cpu" else f"cpu, {where}"
    precision = "" if here.precision == "float32" else f", in {here.precision}"
    return f"trained again on {device}{precision}{', as in a pack' * here.packed}"


def _expectation(circumstances: Circumstances) -> str:
    if circumstances.exact:
        return "same packages, device and threads as then: every number must be equal"
    if not circumstances.differences:
        return f"same packages and device as then; tolerance {circumstances.tolerance:g}"
    return f"not as it was then, so tolerance {circumstances.tolerance:g}:"


def _ends(agreement: Agreement) -> Iterator[str]:
    yield f"  stored: {_end(agreement.stored_state, agreement.stored_error)}"
    yield f"  again:  {_end(agreement.again_state, agreement.again_error)}"


def _end(state: str, error: str | None) -> str:
    return state if error is None else f"{state}: {error}"


def _rows(agreement: Agreement) -> list[Pair]:
    """What always counts, and the first of all that differs."""
    last = next((p.place for p in reversed(agreement.pairs) if p.place.startswith("epoch")), "")
    main = [
        pair
        for pair in agreement.pairs
        if pair.name in DECISIVE
        and pair.place in ("metrics", last)
        and (pair.stored, pair.again) != (None, None)
    ]
    rest = [pair for pair in agreement.differing if pair not in main]
    return main + rest[:_MOST_ROWS]


def _table(rows: Sequence[Pair]) -> Iterator[str]:
    cells = [("", "stored", "again", "difference")]
    cells += [(_name(row), _shown(row.stored), _shown(row.again), _gap(row)) for row in rows]
    if not rows:
        return
    wide = [max(len(row[column]) for row in cells) for column in range(4)]
    for name, stored, again, gap in cells:
        yield (
            f"  {name:<{wide[0]}}  {stored:>{wide[1]}}  {again:>{wide[2]}}  {gap:>{wide[3]}}"
        ).rstrip()


def _name(pair: Pair) -> str:
    return pair.name if pair.place == "metrics" else f"{pair.place}: {pair.name}"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    text = "–" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _gap(pair: Pair) -> str:
    if pair.same:
        return "0"
    return "differs" if pair.difference is None else f"{pair.difference:.2g}"


def _verdict(agreement: Agreement) -> str:
    epochs = len({p.place for p in agreement.pairs if p.place.startswith("epoch")})
    if agreement.bit_for_bit:
        if agreement.stored_state == "diverged":
            return f"bit for bit equal: {epochs} epochs, and it diverged at the same step"
        return f"bit for bit equal: {epochs} epochs, {len(agreement.pairs)} values"
    largest = agreement.largest
    most = (
        "" if largest is None else f"; the largest difference is {_gap(largest)}, {_name(largest)}"
    )
    if agreement.equal:
        return f"equal within {agreement.tolerance:g}{most}"
    beyond = len(agreement.beyond)
    what = f"{beyond} of {len(agreement.pairs)} values differ" if beyond else "it ended otherwise"
    than = f" by more than {agreement.tolerance:g}" if beyond and agreement.tolerance else ""
    return f"not reproduced: {what}{than}{most}"
