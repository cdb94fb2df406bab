"""Durations in words, as short as they can be told."""

__all__ = ["in_words"]

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def in_words(seconds: float) -> str:
    """A duration in its largest unit and the next: "2 d 4 h", "3 h", "12 min 5 s", "0 s"."""
    rest = max(0, round(seconds))
    parts: list[tuple[int, str]] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, unit))
    shown = [f"{count} {unit}" for count, unit in parts[:2] if count]
    return " ".join(shown) or "0 s"
