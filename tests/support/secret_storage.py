"""A PostgreSQL database with a password, to see where the password turns up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from sqlalchemy import make_url

from postgres_server import empty_database, server_url


@dataclass(frozen=True)
class SecretStorage:
    """A database and its password.

    Attributes:
        url: the whole URL.
        password: the part of it that nobody may see.
    """

    url: str = field(repr=False)
    password: str = field(repr=False)


@contextmanager
def secret_storage() -> Iterator[SecretStorage]:
    """A database that belongs to a role with a password."""
    import psycopg

    role, password = f"role_{uuid4().hex}", f"unforgettable_{uuid4().hex}"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        try:
            with empty_database() as url:
                parsed = make_url(url)
                connection.execute(f"ALTER DATABASE {parsed.database} OWNER TO {role}")
                whole = parsed.set(username=role, password=password)
                yield SecretStorage(whole.render_as_string(hide_password=False), password)
        finally:
            connection.execute(f"DROP ROLE {role}")
