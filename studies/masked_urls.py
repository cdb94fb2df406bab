"""URLs of databases, shown without their secrets; also where only a URL is looked at, no database."""

from __future__ import annotations

import re

# Up to the last @, as a password that was not escaped may hold one; with a scheme, a mistyped one
# (`postgresql//`), or none.
_SCHEME = r"[\w+.-]+:?/+"
_PASSWORD = re.compile(rf"\A({_SCHEME}[^:/?@]*|(?!{_SCHEME})[^:/?@]*):.+@", re.DOTALL)
_PARAMETER = re.compile(r"([?&](?:password|sslpassword)=)[^&]*", re.IGNORECASE)


def masked(url: str) -> str:
    """Returns a URL, well-formed or not, with *** in place of its passwords."""
    if url.startswith("sqlite"):  # a file may be called anything
        return url
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))
