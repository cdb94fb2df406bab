"""Sets the clock of every Python process that has this directory on its path, by a file.

JUMPING_CLOCK names the file; it says by how many seconds the clock is off. `time.time` goes by it, and
SQLite's clock, which is the machine's. (libfaketime cannot be used: Python sleeps by
clock_nanosleep with an absolute time, which it fails to translate.)
"""

import os
import sqlite3
import sqlite3.dbapi2
import time
from pathlib import Path
from typing import Any

_FILE = Path(os.environ["JUMPING_CLOCK"])
_true_time = time.time
_connect = sqlite3.dbapi2.connect


def _offset() -> float:
    return float(_FILE.read_text() or 0)


def _time() -> float:
    return _true_time() + _offset()


def _julianday(_moment: str) -> float:
    return _time() / 86400 + 2440587.5


def _connect_with_clock(*args: Any, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _connect(*args, **options)
    connection.create_function("julianday", 1, _julianday)
    return connection


time.time = _time
for module in sqlite3, sqlite3.dbapi2:
    vars(module)["connect"] = _connect_with_clock
