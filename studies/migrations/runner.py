"""Runs Alembic from Python, on a connection that the caller has opened and locked.

A new version of the tables: change `studies.tables`, call `write_revision`, read what it wrote,
raise `studies.tables.SCHEMA_VERSION`, and freeze a dump beside those under tests/studies/schemas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alembic import command
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from sqlalchemy import Connection, TypeDecorator
from sqlalchemy.sql.schema import SchemaItem

from studies.tables import PREFIX


def upgrade(connection: Connection, version: str) -> None:
    """Brings the tables up to a version, inside the connection's transaction."""
    command.upgrade(_config(connection), version)


def write_revision(connection: Connection, version: str, message: str) -> None:
    """Writes the migration from the connected database's tables to `studies.tables`."""
    command.revision(_config(connection), message, autogenerate=True, rev_id=version)


def is_ours(_item: SchemaItem, name: str | None, kind: str, *_: object) -> bool:
    """Alembic's `include_object`: true for our tables and all in them, never for Optuna's."""
    return kind != "table" or (name or "").startswith(PREFIX)


def render_plain(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Alembic's `render_item`: our column types by what they store, as code may change later."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{type(item.impl_instance).__name__}()"
    return False


def _config(connection: Connection) -> Config:
    config = Config()
    here = str(Path(__file__).parent)
    config.set_main_option("script_location", here.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config
