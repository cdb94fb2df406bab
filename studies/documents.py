"""JSON as the database stores it: standard, hence without NaN and infinities."""

from __future__ import annotations

import json

from studies.errors import RecordError


def dump_document(value: object) -> str:
    """Returns the value as JSON text.

    Raises:
        RecordError: If it holds a number that is not finite, or a type that JSON does not have.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise RecordError("a JSON column", "document", "isjson(document)", f"{error}") from error
