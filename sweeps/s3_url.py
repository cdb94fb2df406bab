"""The URL of a place in object storage: bucket, prefix and server, and never a secret."""

import re
from dataclasses import dataclass
from typing import Self, final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sweeps.artifact_store import StoreError, check_key
from sweeps.wording import ended, nearest

__all__ = ["S3Url"]

_MUST = "An S3 URL must be s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION"
_PARAMETERS = ("endpoint", "region")
_SECRET = re.compile(r"key|secret|token|password|credential|user", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]+")
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")


@final
@dataclass(frozen=True, kw_only=True)
class S3Url:
    """Where in object storage the keys of a store begin.

    Attributes:
        bucket: The bucket, which must exist.
        prefix: What stands before every key, without slashes at its ends; may be empty.
        endpoint: The server; None for the one in the environment, else Amazon's.
        region: None for the one in the environment, else "us-east-1".
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, url: str) -> Self:
        """The parts of a URL.

        Raises:
            StoreError: It is no such URL, or holds a secret.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise _secret_in_url()
        if not _BUCKET.fullmatch(parts.netloc):
            raise _refusal(f"got the bucket {parts.netloc!r}")
        if parts.fragment:
            raise _refusal("got a # in it, which a prefix must write as %23")
        prefix = unquote(parts.path).strip("/")
        if prefix:
            check_key(prefix)
        given = parse_qsl(parts.query, keep_blank_values=True)
        for name, _ in given:
            _check_parameter(name)
        values = dict(given)
        if "endpoint" in values:
            _check_endpoint(values["endpoint"])
        return cls(bucket=parts.netloc, prefix=prefix, **values)

    def __str__(self) -> str:
        place = f"s3://{self.bucket}/{quote(self.prefix)}".rstrip("/")
        given = [(name, getattr(self, name)) for name in _PARAMETERS]
        query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in given if value)
        return f"{place}?{query}" if query else place


def _check_parameter(name: str) -> None:
    if name in _PARAMETERS:
        return
    if _SECRET.search(name):
        raise _secret_in_url()
    raise _refusal(f"got the parameter {name!r}{nearest(name, _PARAMETERS)}")


def _check_endpoint(endpoint: str) -> None:
    if "@" in endpoint:
        raise _secret_in_url()
    if not _ENDPOINT.fullmatch(endpoint):
        raise _refusal(f"got the endpoint {endpoint!r}")


def _secret_in_url() -> StoreError:
    return StoreError(
        "An S3 URL must hold no credentials, since it is stored and shown, but this one does; put "
        "them into the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    )


def _refusal(got: str) -> StoreError:
    return StoreError(ended(f"{_MUST}, but {got}"))
