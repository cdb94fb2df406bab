"""Storage URLs, shown without their secrets."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from studies.masked_urls import masked
from studies.storage_url import server_name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://anna:s3cr3t@host:5432/db", "postgresql://anna:***@host:5432/db"),
        ("postgresql://anna:s3cr3t@[::1]/db", "postgresql://anna:***@[::1]/db"),
        ("postgresql://anna:s3@cr3t@host/db", "postgresql://anna:***@host/db"),
        ("postgresql://anna:s3/cr3t@host", "postgresql://anna:***@host"),
        ("postgresql://:s3cr3t@host/db", "postgresql://:***@host/db"),
        ("postgresql://host/db?password=s3cr3t", "postgresql://host/db?password=***"),
        (
            "postgresql://host/db?user=anna&password=s3cr3t&sslpassword=s3cr3t&sslmode=require",
            "postgresql://host/db?user=anna&password=***&sslpassword=***&sslmode=require",
        ),
        ("postgresql//anna:s3cr3t@host/db", "postgresql//anna:***@host/db"),
        ("anna:s3cr3t@host/db", "anna:***@host/db"),
        ("postgresql://anna@host/db", "postgresql://anna@host/db"),
        ("sqlite:////home/anna/sweeps.db", "sqlite:////home/anna/sweeps.db"),
        ("sweeps.db", "sweeps.db"),
    ],
)
def test_no_password_is_left_in_a_url_however_it_is_written(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_messages_name_a_server_without_driver_and_parameters() -> None:
    url = make_url("postgresql+psycopg://anna:s3cr3t@host/db?sslmode=require&passfile=/x")
    assert server_name(url) == "postgresql://anna:***@host/db"


def test_messages_name_the_socket_of_a_server_without_a_host() -> None:
    url = make_url("postgresql://anna@/db?host=/run/postgresql")
    assert server_name(url) == "postgresql://anna@/db?host=%2Frun%2Fpostgresql"
