"""What PostgreSQL's errors mean to a user, and which of them pass if one waits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from sqlalchemy.exc import DBAPIError, OperationalError

from studies.errors import SchemaError, StorageError, StudiesError, TransientStorageError
from studies.tables import PREFIX, SCHEMA_VERSION

_CLASSES = ("08", "53")  # the connection; resources: connections, memory, disk
_STATES = frozenset(
    {
        "25P03",  # idle in a transaction for too long: suspended, and dropped by the server
        "40000", "40001", "40003", "40P01",  # serialisation failures, deadlocks
        "55P03",  # a lock was not to be had in time
        "57P01", "57P02", "57P03", "57P05",  # shutting down, crashed, starting; idle for too long
    }
)  # fmt: skip

_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "25006": "{where} must be writable, but it is read-only: a standby server, or a role that "
        "may only read.",
        "28": "{where} must let this user in, but it refused: {reason}; check user and password.",
        "3D000": "{where} must exist, but {reason}; make it with `createdb`, or correct the URL.",
        "42501": "The user of {where} must have the right to do this, but {reason}; grant it, or "
        "use another role.",
        "53100": "The disk of {where} must have free space, but it is full: {reason}.",
        "53300": "{where} must have a connection to spare, but {reason}; raise its "
        "max_connections, or run fewer workers.",
        "55P03": "{where} must give a lock in time, but another process holds it: {reason}.",
    }
)

_TLS = (
    "{where} must be reached as its TLS parameters say, but {reason}; check sslmode, sslrootcert "
    "and the host's name."
)

# A refused connection comes without a state, as text that the server may have translated. What
# is not recognised here counts as passing: rather wait for nothing than die of a restart.
_REFUSALS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"authentication failed|no password supplied|role \".*\" does not exist|pg_hba\.conf"
        ),
        _SENTENCES["28"],
    ),
    (re.compile(r"database \".*\" does not exist"), _SENTENCES["3D000"]),
    (re.compile(r"permission denied"), _SENTENCES["42501"]),
    (
        re.compile(r"certificate|does not support SSL|private key|sslmode|CRL file"),
        _TLS,
    ),
    (
        re.compile(r"invalid (connection option|integer value|port number|.* value)|unrecognized"),
        "{where} must have parameters that PostgreSQL knows, but {reason}.",
    ),
)
_CROWDED = re.compile(r"too many clients|too many connections|connection slots are reserved")
_PREAMBLE = re.compile(r"^connection failed: |^connection to server .*? failed: |^FATAL: +")


def translated(where: str, error: DBAPIError, reason: str) -> StudiesError:
    """Returns our error for one of PostgreSQL's.

    Args:
        where: The database's URL, without a password.
        error: What SQLAlchemy raised.
        reason: The first line of what the driver said.
    """
    state = getattr(error.orig, "sqlstate", None)
    reason = _bare(reason)
    if state is None:
        return _without_state(where, error, reason)
    if state == "42P01" and PREFIX in reason:
        return SchemaError(where, None, SCHEMA_VERSION)
    sentence = _SENTENCES.get(state) or _SENTENCES.get(state[:2])
    kind = TransientStorageError if _passes(state) else StorageError
    return kind((sentence or _default(kind)).format(where=where, reason=reason))


def _without_state(where: str, error: DBAPIError, reason: str) -> StorageError:
    for pattern, sentence in _REFUSALS:
        if pattern.search(reason):
            return StorageError(sentence.format(where=where, reason=reason))
    passing = error.connection_invalidated or isinstance(error, OperationalError)
    kind = TransientStorageError if passing else StorageError
    sentence = _SENTENCES["53300"] if _CROWDED.search(reason) else _default(kind)
    return kind(sentence.format(where=where, reason=reason))


def _passes(state: str) -> bool:
    return state in _STATES or state[:2] in _CLASSES


def _default(kind: type[StorageError]) -> str:
    if kind is TransientStorageError:
        return "{where} must answer, but the connection failed: {reason}."
    return "{where} must answer, but the database reported: {reason}."


def _bare(reason: str) -> str:
    """Returns what the server said, without what stands before it on every refusal."""
    while (shorter := _PREAMBLE.sub("", reason)) != reason:
        reason = shorter
    return reason.rstrip(".")
