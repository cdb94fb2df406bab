"""Artifacts in object storage that speaks Amazon's S3 protocol, through obstore (extra `s3`)."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, final

from sweeps.artifact_store import (
    ArtifactStore,
    KeyMissing,
    StoredFile,
    StoreError,
    StoreFull,
    check_key,
)
from sweeps.s3_url import S3Url

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config
    from obstore.store import S3Store as Client

__all__ = ["S3Store"]

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ONE_REQUEST: Final = 16 * 1024 * 1024
"""Bytes of the largest content that goes in one request; larger ones go in parts of that size."""

_REQUEST_SECONDS = 60
_CONNECT_SECONDS = 5
_RETRIES = 4
_RETRY_SECONDS = 60

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_METADATA_SERVICE = re.compile("/latest/(api/token|meta-data)")
"""Where credentials are looked for that the environment does not hold: Amazon's machines answer."""

_FULL = ("InsufficientCapacity", "QuotaExceeded", "StorageFull", "XMinioStorageFull")
_REGION = (
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
)


@final
class S3Store(ArtifactStore):
    """Objects below a prefix of a bucket.

    Credentials, and the server and region where the URL names none, come from the standard
    environment variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
    AWS_ENDPOINT_URL; on Amazon's machines also from their roles. An object appears as a whole.

    Args:
        url: Such as ``s3://bucket/prefix?endpoint=http://127.0.0.1:9000``.

    Raises:
        StoreError: It is no such URL, or obstore is not installed.
    """

    def __init__(self, url: str) -> None:
        self._place = S3Url.of(url)
        self._client = _client(self._place)

    @property
    def url(self) -> str:
        """The URL."""
        return str(self._place)

    def create(self) -> None:
        """Nothing: buckets are made by those who own them."""

    def put(self, key: str, content: bytes) -> None:
        """As the contract says."""
        import obstore

        check_key(key)
        in_parts = len(content) > _ONE_REQUEST
        with self._clear_faults(f"to write {key} ({len(content):,} bytes)"):
            obstore.put(
                self._client, key, content, use_multipart=in_parts, chunk_size=_ONE_REQUEST
            )

    def get(self, key: str) -> bytes:
        """As the contract says."""
        import obstore

        check_key(key)
        with self._clear_faults(f"to read {key}", reading=key):
            return bytes(obstore.get(self._client, key).bytes())

    def keys(self, folder: str = "") -> list[StoredFile]:
        """As the contract says."""
        import obstore

        if folder:
            check_key(folder)
        with self._clear_faults(f"to list {folder or 'it'}"):
            found = [
                StoredFile(key=entry["path"], size=entry["size"])
                for page in obstore.list(self._client, folder or None)
                for entry in page
            ]
        return sorted(found, key=lambda file: file.key)

    def delete(self, key: str) -> None:
        """As the contract says."""
        import obstore

        check_key(key)
        with self._clear_faults(f"to delete {key}"):
            obstore.delete(self._client, key)

    def clear_leftovers(self, folder: str) -> int:
        """None can be seen: parts of an upload that was cut off are no object.

        A rule of the bucket should expire them (AbortIncompleteMultipartUpload).
        """
        if folder:
            check_key(folder)
        return 0

    @contextmanager
    def _clear_faults(self, purpose: str, reading: str | None = None) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise _fault(self._place, purpose, error, reading) from error


def _client(place: S3Url) -> "Client":
    try:
        from obstore.store import S3Store as Client
    except ImportError as error:
        message = (
            "The package obstore must be installed for artifacts in object storage, but it is not; "
            "install rdsweep with its extra: pip install 'rdsweep[s3]'."
        )
        raise StoreError(message) from error
    config: S3Config = {"disable_bulk_delete": True}  # Google's and others' servers know none
    if place.endpoint is not None:
        config["aws_endpoint_url_s3"] = place.endpoint
    if place.region is not None:
        config["region"] = place.region
    return Client(
        place.bucket,
        prefix=place.prefix or None,
        config=config,
        client_options=_client_options(place),
        retry_config=_retries(),
    )


def _client_options(place: S3Url) -> "ClientConfig":
    asked = [place.endpoint, *map(os.environ.get, _ENDPOINTS)]
    endpoint = next((value for value in asked if value), "")
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": timedelta(seconds=_REQUEST_SECONDS),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
    }


def _retries() -> "RetryConfig":
    return {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)}


def _fault(place: S3Url, purpose: str, error: Exception, reading: str | None) -> StoreError:
    """One line for what the library reports over many, without the debris of its own types."""
    text = str(error)
    code, status = _first(_CODE, text), _first(_STATUS, text)
    if code == "NoSuchBucket":
        return StoreError(
            f"The bucket {place.bucket!r} must exist {purpose}, but it does not; make it, or check "
            "the name and the endpoint."
        )
    if reading is not None and isinstance(error, FileNotFoundError):
        return KeyMissing(f"{reading} must be in {place}, but there is no such object.")
    if _METADATA_SERVICE.search(text):
        return StoreError(
            f"Credentials for {place} must stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "but they do not; files such as ~/.aws/credentials are not read "
            "(`aws configure export-credentials --format env` prints what to set)."
        )
    if code in _FULL or status == "507":
        return StoreFull(f"{place} must have room {purpose}, but it is full ({code or status}).")
    if code in _REGION:
        return StoreError(
            f"The region of {place} must be that of its bucket {purpose}, but the server answered "
            f"{code}; add region=… to the URL, or set AWS_REGION."
        )
    if status in ("401", "403"):
        return StoreError(
            f"The credentials for {place} must allow {purpose}, but the server refused them "
            f"({code or status}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights of "
            "their owner."
        )
    return StoreError(f"{place} must answer {purpose}, but: {_reason(text, code)}.")


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None


def _reason(text: str, code: str | None) -> str:
    """What the library's first line says at its end, and the server's code."""
    reason = text.partition("\n")[0].rpartition(" - ")[2].partition(": <")[0].strip().rstrip(".")
    return f"{reason} ({code})" if code else reason
