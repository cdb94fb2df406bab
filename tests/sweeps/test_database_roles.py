"""The roles of docs/distributed.md: workers that may write, readers that may not."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url

import postgres_server
from rdsweep_command import Rdsweep

DOCUMENT = Path(__file__).parents[2] / "docs" / "distributed.md"
PASSWORD = "s3cret-0f-the-r0le"


@dataclass(frozen=True)
class Roles:
    """URLs of one database, by who opens it."""

    owner: str
    worker: str
    reader: str


@pytest.fixture(scope="module")
def roles() -> Iterator[Roles]:
    """A database with a study of no trials yet, and the document's roles under names of our own."""
    if reason := postgres_server.missing():
        pytest.skip(reason)
    import psycopg

    (statements,) = re.findall(
        r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
    )
    suffix = uuid4().hex[:8]
    names = [f"rdsweep_worker_{suffix}", f"rdsweep_reader_{suffix}"]
    for plain, name in zip(("rdsweep_worker", "rdsweep_reader"), names, strict=True):
        statements = re.sub(rf"\b{plain}\b", name, statements)
    statements = statements.replace("LOGIN", f"LOGIN PASSWORD '{PASSWORD}'")
    with postgres_server.prepared_database() as owner:
        _make_study(owner)
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(statements)
        yield Roles(owner, *(_url_of(owner, name) for name in names))
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {', '.join(names)}")
            connection.execute(f"DROP ROLE {', '.join(names)}")


def _url_of(url: str, role: str) -> str:
    parsed = make_url(url).set(username=role, password=PASSWORD)
    parsed = parsed.difference_update_query(["passfile"])
    return parsed.render_as_string(hide_password=False)


def _make_study(url: str) -> None:
    from studies.database import open_database
    from sweeps.spec import Spec
    from sweeps.study_setup import prepare_study

    document = {
        "study": {"name": "small", "trials": 3, "sampler": "random"},
        "data": {"name": "digits"},
        "model": {"hidden": [8]},
        "train": {"epochs": 1},
        "run": {"threads": 1},
        "space": {"beta": {"low": 0.1, "high": 1.0}},
    }
    spec = Spec.from_dict(document)
    db = open_database(url)
    prepare_study(spec, db)
    db.close()


def _as(url: str, rdsweep: Rdsweep, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        rdsweep.command(*arguments),
        cwd=rdsweep.folder,
        env={**os.environ, "RDSWEEP_STORAGE": url, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_worker_trains_and_a_reader_sees_but_cannot_write(
    roles: Roles, rdsweep: Rdsweep
) -> None:
    trained = _as(roles.worker, rdsweep, "worker", "small", "--device", "cpu")
    assert trained.returncode == 0, trained.stderr
    for arguments in (["status", "small"], ["query", "small"], ["report", "small"]):
        done = _as(roles.reader, rdsweep, *arguments)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
    refused = _as(roles.reader, rdsweep, "stop", "small")
    assert refused.returncode == 2
    assert re.search(r"^rdsweep: .*permission denied", refused.stderr), refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert PASSWORD not in refused.stderr
