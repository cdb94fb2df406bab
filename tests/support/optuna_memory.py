"""Optuna's side of a study as tests look at it; `close_all` closes the connections they opened."""

from optuna.storages import RDBStorage
from optuna.study import Study
from sqlalchemy import Engine

from sweeps.optuna_store import load_optuna_study, open_optuna_storage
from sweeps.suggestions import SuggestionDesk

_engines: list[Engine] = []
_desks: list[SuggestionDesk] = []


def optuna_storage(url: str) -> RDBStorage:
    """Optuna's storage on a database URL."""
    storage = open_optuna_storage(url)
    _engines.append(storage.engine)
    return storage


def optuna_study(url: str, name: str = "toy") -> Study:
    """Optuna's study of a name."""
    return load_optuna_study(optuna_storage(url), name)


def kept(desk: SuggestionDesk) -> SuggestionDesk:
    """The same desk, to be closed at the end of the test."""
    _desks.append(desk)
    return desk


def close_all() -> None:
    """Closes what was opened since the last time."""
    while _engines:
        _engines.pop().dispose()
    while _desks:
        _desks.pop().close()
