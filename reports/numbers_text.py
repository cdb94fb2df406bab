"""Numbers as readers want them: few digits, no exponents where a plain number is short."""

import math

_LEAST_ERROR = 1e-6
"""Beneath it a value and its error would both be printed as zeros."""


def short(value: float | None, digits: int = 3) -> str:
    """Returns the number in a few significant digits, or a dash where there is none.

    Whole parts are never rounded away (1,234.5 gives ``1234``, not ``1.23e+03``) up to a million.

    Args:
        value: Any number; None, infinities and NaN are legal.
        digits: Significant digits, at least.
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value).replace("-", "−")
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 6 or magnitude < -4:
        return f"{value:.{digits - 1}e}".replace("e+0", "e").replace("e-0", "e−").replace("-", "−")
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}".replace("-", "−")


def trimmed(value: float | None, digits: int = 3) -> str:
    """Returns the number as `short` does, but without zeros at its end: 80 rather than 80.0."""
    text = short(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def rate_text(rate_nats: float | None) -> str:
    """Returns a rate for a narrow label: as `short` does, but ``<0.01`` for next to nothing."""
    return "<0.01" if rate_nats is not None and 0 <= rate_nats < 0.01 else short(rate_nats)


def tick(value: float) -> str:
    """Returns an axis or colour-bar tick, as a plain number where that is short."""
    text = f"{value:g}" if 1e-4 <= abs(value) < 1e6 or value == 0 else f"{value:.0e}"
    return text.replace("e+0", "e").replace("e-0", "e−").replace("-", "−")


def with_error(value: float | None, error: float | None) -> str:
    """Returns ``value ± standard error``, both to the error's second digit, or a lone value."""
    if value is None or error is None or not math.isfinite(error) or error < _LEAST_ERROR:
        return short(value, 4)
    decimals = min(max(1 - math.floor(math.log10(error)), 0), 6)
    return f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Returns a duration in the unit that fits it, or a dash."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 120:
        return f"{trimmed(seconds)} s"
    if seconds < 2 * 3600:
        return f"{trimmed(seconds / 60)} min"
    return f"{trimmed(seconds / 3600)} h"
