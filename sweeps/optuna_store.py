"""Optuna's side of a study: its storage on our database URL, and its study of the same name."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study, StudyDirection
from sqlalchemy import event, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from studies.database import Database, schema_lock
from studies.faults import clear_faults
from studies.postgresql import postgresql_connect_args, postgresql_pool_args
from sweeps.errors import SuggestionError
from sweeps.samplers import quiet_optuna
from sweeps.spec import Spec

__all__ = [
    "clear_optuna_faults",
    "create_optuna_study",
    "load_optuna_study",
    "open_optuna_storage",
]

_MARK = "rdsweep"
_OBJECTIVES = [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]  # rate, distortion
_BUSY_SECONDS = 60.0


def open_optuna_storage(url: str, *, make_tables: bool = False) -> RDBStorage:
    """Optuna's storage on a database URL.

    Args:
        url: The URL that our own tables are reached by.
        make_tables: Whether to make missing tables; only ever under `schema_lock`, since
            processes that make a schema at the same moment kill each other.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_storage(url, make_tables=make_tables)
    driver = parsed.set(drivername="postgresql+psycopg")
    engine = {
        **postgresql_pool_args(),
        "connect_args": postgresql_connect_args(driver),
    }
    return RDBStorage(
        driver.render_as_string(hide_password=False),
        engine_kwargs=engine,
        skip_table_creation=not make_tables,
    )


def create_optuna_study(db: Database, url: str, spec: Spec) -> None:
    """Makes Optuna's study of a spec's name, minimising (rate, distortion); once is enough.

    Args:
        db: Our side of the same database, for its lock.
        url: The database URL.
        spec: The spec.

    Raises:
        SuggestionError: There is an Optuna study of that name which is not ours.
    """
    name = spec.study.name
    with schema_lock(db), quiet_optuna():
        storage = open_optuna_storage(url, make_tables=True)
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=_OBJECTIVES,
                sampler=RandomSampler(),
                load_if_exists=True,
            )
            _claim(study, name)
        finally:
            storage.engine.dispose()


def load_optuna_study(storage: BaseStorage, name: str) -> Study:
    """Optuna's study of that name, with a sampler that draws at random and learns nothing.

    Raises:
        SuggestionError: There is none, or it is not ours.
    """
    with quiet_optuna():
        try:
            study = optuna.load_study(storage=storage, study_name=name, sampler=RandomSampler())
        except KeyError as error:
            message = (
                f"Study {name!r} must have an Optuna study beside it, but there is none; it was "
                "deleted or renamed with other tools. Go on under a new name: "
                "--set study.name=…"
            )
            raise SuggestionError(message) from error
        if _MARK not in study.user_attrs:
            raise _foreign(name)
    return study


@contextmanager
def clear_optuna_faults(db: Database) -> Iterator[None]:
    """Translates what the driver reports to Optuna into one line, as for our own statements.

    Raises:
        TransientStorageError: For faults that pass, as a dropped connection.
        StorageError: For all others.
    """
    with clear_faults(db.where):
        try:
            yield
        except StorageInternalError as error:
            raise (error.__cause__ or error) from None


def _claim(study: Study, name: str) -> None:
    """Marks a study as ours; one that was left unmarked by a crash has no trials yet."""
    if _MARK in study.user_attrs:
        return
    if study.directions != _OBJECTIVES or study.get_trials(deepcopy=False):
        raise _foreign(name)
    study.set_user_attr(_MARK, True)


def _foreign(name: str) -> SuggestionError:
    return SuggestionError(
        f"An Optuna study named {name!r} must have been made by rdsweep, but the one in this "
        "database was not; choose another name: --set study.name=…"
    )


def _sqlite_storage(url: str, *, make_tables: bool) -> RDBStorage:
    storage = RDBStorage(
        url,
        engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}},
        skip_table_creation=not make_tables,
    )
    event.listen(storage.engine, "connect", _relax_sync)
    storage.engine.dispose()  # the connections from before the event
    return storage


def _relax_sync(driver: sqlite3.Connection, _entry: ConnectionPoolEntry | Any) -> None:  # noqa: ANN401
    driver.execute("PRAGMA synchronous = NORMAL")
