"""The doctor on a real PostgreSQL: how the server is set up, and both sides of a study."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

import postgres_server
from studies.database import Database, open_database, prepare_schema
from studies.leases import take_trial
from studies.outcomes import diverge_trial, fail_trial, finish_trial
from studies.study_records import create_study
from studies.workers import register_worker
from study_examples import EVALUATION, LATENTS, STUDY, study_of
from sweeps.doctor import examine
from sweeps.doctor_postgresql import check_postgresql
from sweeps.findings import Finding
from sweeps.optuna_store import create_optuna_study
from sweeps.suggestions import SuggestionDesk
from toy_sweeps import spec_of

if reason := postgres_server.missing():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_server.prepared_database() as fresh:
        yield fresh


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


def found(db: Database) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_postgresql(db)}


class TestTheServer:
    def test_has_room_for_a_few_workers(self, db: Database) -> None:
        findings = found(db)
        assert findings["server"].message.startswith("PostgreSQL ")
        assert findings["connections"].level == "ok"
        assert findings["clock"].level == "ok"

    def test_must_take_two_connections_a_worker(self) -> None:
        with postgres_server.PrivateServer({"max_connections": "30"}) as server:
            db = open_database(server.url)
            prepare_schema(db)
            study_of(db, 1)
            for number in range(12):
                register_worker(
                    db,
                    STUDY.name,
                    f"w{number}",
                    host="elsewhere",
                    pid=number,
                    process_started_at=0.0,
                    device="cpu",
                    versions={},
                )
            connections = found(db)["connections"]
            db.close()
        assert connections.level == "problem"
        assert "it takes 27 connections; 12 workers need up to 24" in connections.message

    def test_that_may_forget_in_a_power_cut_is_worth_a_note(self) -> None:
        with postgres_server.PrivateServer({"fsync": "off"}) as server:
            db = open_database(server.url)
            assert found(db)["durability"].level == "note"
            assert "fsync is off" in found(db)["durability"].message
            db.close()

    def test_that_answers_before_the_disk_is_worth_a_note(self) -> None:
        with postgres_server.PrivateServer({"synchronous_commit": "off"}) as server:
            db = open_database(server.url)
            note = found(db)["durability"]
            db.close()
        assert note.level == "note"
        assert "the last moment's results" in note.message

    @pytest.mark.parametrize(("seconds", "way"), [(90, "behind"), (-90, "ahead of")])
    def test_whose_clock_goes_otherwise_is_worth_a_note(
        self, url: str, db: Database, seconds: int, way: str
    ) -> None:
        """A function of the name of the server's clock stands before it in the search path."""
        with db.write() as connection:
            connection.execute(
                text(
                    "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
                    f"AS 'SELECT pg_catalog.clock_timestamp() + interval ''{seconds} s'''"
                )
            )
        joint = "&" if "?" in url else "?"
        moved = open_database(f"{url}{joint}options=-csearch_path%3Dpublic%2Cpg_catalog")
        note = found(moved)["clock"]
        moved.close()
        assert note.level == "note"
        assert f"this machine's clock is 1 min 30 s {way} the database's; no harm" in note.message


@pytest.fixture
def toy(db: Database, tmp_path: Path) -> Database:
    """A study with a complete, a diverged and a failed trial, all told; and a queued one."""
    spec = spec_of({"beta": {"low": 0.1, "high": 10.0}}, trials=4, sampler="random")
    create_optuna_study(db, db.url, spec)
    document = spec.to_dict()
    create_study(
        db,
        replace(STUDY, name="toy", spec=document, trials_wanted=4, artifacts_url=str(tmp_path)),
    )
    desk = SuggestionDesk(db, db.url, study="toy", spec=spec, pixels=64, worker_id="w/desk")
    desk.refill(4)
    leases = [take_trial(db, "toy", "w", lease_seconds=60, max_attempts=3) for _ in range(3)]
    complete, diverged, failed = (lease for lease in leases if lease is not None)
    latents = LATENTS * 4
    numbered = [replace(row, latent=index) for index, row in enumerate(latents)]
    finish_trial(db, complete, EVALUATION, numbered, [])
    diverge_trial(db, diverged, "NaN in epoch 1, step 2")
    fail_trial(db, failed, "Traceback: …")
    desk.settle()
    desk.close()
    return db


def complaints(db: Database) -> list[Finding]:
    """What is wrong with a study; the test's server may forget, and its disk may be small."""
    findings = examine(db.url)
    return [each for each in findings if each.level != "ok" and each.study == "toy"]


def sql(db: Database, statement: str) -> None:
    with db.write() as connection:
        connection.execute(text(statement))


class TestBothSidesOfAStudy:
    def test_agree(self, toy: Database) -> None:
        assert complaints(toy) == []

    def test_disagree_where_optuna_was_not_told(self, toy: Database) -> None:
        sql(toy, "DELETE FROM trial_values")
        sql(toy, "UPDATE trials SET state = 'RUNNING'")
        (wrong,) = complaints(toy)
        assert wrong.message == "the record counts trials 0, 1, 2 as told, but Optuna was not"
        fixed = [each.fixed for each in examine(toy.url, fix=True) if each.fixed]
        assert fixed == ["told Optuna 3 outcomes"]
        assert complaints(toy) == []

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE trials SET state = 'FAIL' WHERE number = 0",
            "UPDATE trials SET state = 'COMPLETE' WHERE number = 2",
            "UPDATE trial_values SET value = value + 1 WHERE value_type = 'FINITE'",
            "UPDATE trial_values SET value = 1, value_type = 'FINITE' WHERE value_type = 'INF_POS'",
        ],
    )
    def test_disagree_where_optuna_was_told_something_else(
        self, toy: Database, statement: str
    ) -> None:
        sql(toy, statement)
        (wrong,) = complaints(toy)
        assert "Optuna was told something else than the record has of trial" in wrong.message


def test_a_server_that_does_not_answer_is_a_problem() -> None:
    (finding,) = examine("postgresql://me:secret@127.0.0.1:1/none")
    assert finding.level == "problem"
    assert "secret" not in finding.message
