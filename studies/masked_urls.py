"""URLs of databases, shown without their secrets; also where only a URL is looked at, no database."""

from __future__ import annotations

import re

# Between the user's name and the last @, as a password that was not escaped may hold one; also where
# the :// before them was mistyped. What begins with a slash is a path or the host.
_PASSWORD = re.compile(r"((?:^|/)[^:/?@]*):(?!/).*@", re.DOTALL)
_PARAMETER = re.compile(r"([?&](?:password|sslpassword)=)[^&]*", re.IGNORECASE)


def masked(url: str) -> str:
    """Returns a URL, well-formed or not, with *** in place of its passwords."""
    if url.startswith("sqlite"):  # a file may be called anything
        return url
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
