"""Studies copied between databases: whole, exact, safe to repeat, and never over anything else."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, make_url

from copied_studies import (
    DIRECTIONS,
    copied,
    die_while_copying,
    empty_databases,
    plain_rows,
    rich_study,
    route,
    sql,
    take,
)
from studies import copy_tables
from studies.copying import CopyError, Errand, check_copy, copy_study
from studies.database import Database, open_database
from studies.errors import StudyNotFound
from studies.launchers import register_launcher
from studies.outcomes import finish_trial, store_epoch
from studies.queries import query_trials
from studies.queue import add_trials, counts, mark_told
from studies.same_database import are_same
from studies.study_records import get_study, list_studies, update_study
from studies.workers import list_workers, register_worker
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, epoch_record, new_trial, study_of

Pair = tuple[Database, Database]


@pytest.fixture(params=DIRECTIONS, ids="-to-".join)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A source and a target, empty but for the tables; in each direction between the two kinds."""
    with empty_databases(request.param, tmp_path) as databases:
        yield databases


@pytest.fixture(params=DIRECTIONS[:2], ids="-to-".join)
def mixed_pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A source and a target of different kinds."""
    with empty_databases(request.param, tmp_path) as databases:
        yield databases


def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every two trials a chunk of their own."""
    monkeypatch.setattr(copy_tables, "_TRIALS_A_CHUNK", 2)


# --- What is copied -------------------------------------------------------------------------------


def test_every_value_of_every_row_is_the_same_in_the_copy(pair: Pair) -> None:
    """All that differs is what is said here: a copy has no workers, so nothing of it runs."""
    source, target = pair
    rich_study(source)
    done = copied(source, target)
    wanted, found = plain_rows(source), plain_rows(target)
    (study,) = wanted["studies"]
    study |= {"stop": None, "sampler_worker": None, "sampler_until": None}
    running = wanted["trials"][5]
    (attempt,) = [row for row in wanted["attempts"] if row["trial"] == 5]
    attempt |= {"ended_at": running["lease_until"], "outcome": "released"}
    attempt |= {"reason": "copied to another database"}
    assert running["state"] == "running"
    running |= {"state": "queued", "worker": None, "lease_until": None}
    for row in *wanted["workers"], *wanted["launchers"]:
        if row["ended_at"] is None:
            row["ended_at"] = row["seen_at"]
            row |= {"reason": "copied to another database"} if "reason" in row else {}
    assert found == wanted
    assert (done.trials, done.epochs, done.artifacts) == (7, 8, 4)
    assert (done.is_new, done.written) == (True, 7)


def test_a_copy_in_many_chunks_is_the_same(
    mixed_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = mixed_pair
    rich_study(source)
    seen: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        small_chunks(patch)
        errand = Errand(study=STUDY.name, name=STUDY.name)
        done = copy_study(route(source, target), errand, lambda *step: seen.append(step))
    assert seen == [(trials, 14) for trials in (2, 4, 6, 7, 9, 11, 13, 14)]
    again = copied(source, target)
    assert (again.changed, again.checksum) == (False, done.checksum)


def test_a_copy_of_a_copy_is_the_same(mixed_pair: Pair, tmp_path: Path) -> None:
    """There and back again: no back end rounds, and the checksum does not depend on it."""
    source, target = mixed_pair
    rich_study(source)
    there = copied(source, target)
    with empty_databases(("sqlite", "sqlite"), tmp_path) as (_, last):
        back = copied(target, last)
        assert plain_rows(last) == plain_rows(target)
    assert back.checksum == there.checksum


def test_the_checksum_tells_studies_apart(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    sums = {copied(source, target, rich_study(source, name)).checksum for name in ("a", "b")}
    assert len(sums) == 2


def test_an_empty_study_is_copied_too(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    study_of(source, 0)
    assert copied(source, target).trials == 0
    assert get_study(target, STUDY.name) == get_study(source, STUDY.name)


def test_a_copied_study_goes_on_where_it_stood(pair: Pair) -> None:
    """Also after a sequence or an autoincrement has given out keys to copied rows."""
    source, target = pair
    rich_study(source)
    copied(source, target)
    leases = [take(target, "dora") for _ in range(3)]
    assert [(lease.number, lease.attempt) for lease in leases] == [(4, 2), (5, 2), (6, 1)]
    add_trials(target, STUDY.name, [new_trial(7), new_trial(8)])
    leases += [take(target, "dora") for _ in range(2)]
    for lease in leases:
        store_epoch(target, lease, epoch_record(2))
        finish_trial(target, lease, EVALUATION, LATENTS, [ARTIFACT])
    assert counts(target, STUDY.name) == {
        "queued": 0, "running": 0, "complete": 7, "diverged": 1, "failed": 1,
    }  # fmt: skip
    other = study_of(target, 1, name="another")
    assert take(target, "dora", other).number == 0
    with target.read() as connection:
        keys = connection.exec_driver_sql("SELECT id FROM rdsweep_trials ORDER BY id").scalars()
        assert len(set(keys)) == 10


def test_studies_of_other_names_stay_as_they_are(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    rich_study(target, "another")
    before = plain_rows(target, keys=True)
    copied(source, target)
    after = plain_rows(target, keys=True)
    for table, rows in before.items():
        assert [row for row in after[table] if row in rows] == rows
    assert [study.name for study in list_studies(target)] == ["another", STUDY.name]


def test_a_new_name_stands_wherever_the_name_stands(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    done = copied(source, target, STUDY.name, "renamed")
    study = get_study(target, "renamed")
    assert study.spec["study"]["name"] == "renamed"
    assert study.spec["space"] == STUDY.spec["space"]
    assert (done.study, done.name) == (STUDY.name, "renamed")
    assert not copied(source, target, STUDY.name, "renamed").changed


# --- Once more ------------------------------------------------------------------------------------


def test_a_second_copy_changes_nothing(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    first = copied(source, target)
    before = plain_rows(target, keys=True)
    writes: list[str] = []

    @event.listens_for(target.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE", "DELETE"):
            writes.append(statement)

    second = copied(source, target)
    assert (writes, second.changed, second.written, second.is_new) == ([], False, 0, False)
    assert second.checksum == first.checksum
    assert plain_rows(target, keys=True) == before


def test_what_is_new_at_the_source_is_brought_up_to_date(mixed_pair: Pair) -> None:
    """Trials that did not change are not written again: they keep their keys."""
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    keys = {row["number"]: row["id"] for row in plain_rows(target, keys=True)["trials"]}
    sql(source, "UPDATE rdsweep_trials SET lease_until = 0 WHERE state = 'running'")
    taken_over = take(source, "dora")
    store_epoch(source, taken_over, epoch_record(2))
    finish_trial(source, taken_over, EVALUATION, LATENTS, [ARTIFACT])
    add_trials(source, STUDY.name, [new_trial(7)])
    mark_told(source, STUDY.name, [2, 3])
    register_worker(
        source, STUDY.name, "dora", host="here", pid=3, process_started_at=2.0, device="cpu",
        versions={},
    )  # fmt: skip
    done = copied(source, target)
    assert (done.is_new, done.written, done.trials) == (False, 4, 8)  # 2, 3, 5 and 7
    found = {row["number"]: row["id"] for row in plain_rows(target, keys=True)["trials"]}
    assert found == keys | {7: found[7]}
    assert plain_rows(target)["trials"] == plain_rows(source)["trials"]
    assert plain_rows(target)["epochs"] == plain_rows(source)["epochs"]
    assert plain_rows(target)["attempts"] == plain_rows(source)["attempts"]
    assert {worker.id for worker in list_workers(target)} >= {"dora"}
    assert not copied(source, target).changed


def test_a_changed_spec_is_brought_along_and_orders_to_stop_are_not(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    sql(target, "UPDATE rdsweep_studies SET stop = 'now'")
    update_study(source, replace(get_study(source, STUDY.name), trials_wanted=99))
    assert copied(source, target).changed
    (study,) = plain_rows(target)["studies"]
    assert (study["trials_wanted"], study["stop"]) == (99, "now")


def test_a_study_that_went_on_in_its_copy_can_be_copied_back(mixed_pair: Pair) -> None:
    """The way from a laptop to a cluster and home."""
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    finish_trial(target, take(target, "dora"), EVALUATION, LATENTS, [])
    add_trials(target, STUDY.name, [new_trial(7)])
    done = copied(target, source)
    assert done.written == 3  # finished there, new there, and what the copy has queued
    assert plain_rows(source)["trials"] == plain_rows(target)["trials"]


def test_workers_that_only_the_target_had_stay(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    register_launcher(
        target, STUDY.name, "theirs", kind="ray", host="there", pid=1, process_started_at=1.0,
        workers_wanted=1,
    )  # fmt: skip
    sql(source, "UPDATE rdsweep_launchers SET workers_wanted = 5")
    assert copied(source, target).changed
    wanted = {row["kind"]: row["workers_wanted"] for row in plain_rows(target)["launchers"]}
    assert wanted == {"local": 5, "ray": 1}


# --- What is refused ------------------------------------------------------------------------------


def refused(source: Database, target: Database, message: str, name: str = STUDY.name) -> None:
    """Passes if a copy is refused, by the check and by the copy, and changes nothing."""
    before = plain_rows(target, keys=True)
    errand = Errand(study=STUDY.name, name=name)
    for function in check_copy, copy_study:
        with pytest.raises(CopyError, match=message) as error:
            function(route(source, target), errand)
        assert "\n" not in str(error.value)
    assert plain_rows(target, keys=True) == before


def test_another_study_of_the_same_name_is_not_written_over(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    for database in mixed_pair:
        rich_study(database)
    refused(
        source,
        target,
        "has another study named 'digits-beta'; give this one a new name there: "
        "`--rename digits-beta=digits-beta-2`",
    )
    assert copied(source, target, STUDY.name, "digits-beta-2").is_new


def finish_one(database: Database) -> None:
    finish_trial(database, take(database, "dora"), EVALUATION, LATENTS, [])


WORK: dict[str, Callable[[Database], object]] = {
    "an attempt": lambda database: take(database, "dora"),
    "a result": finish_one,
    "a suggestion": lambda database: add_trials(database, STUDY.name, [new_trial(7)]),
    "an outcome told": lambda database: mark_told(database, STUDY.name, [2]),
    "a trial given up": lambda database: sql(
        database, "UPDATE rdsweep_trials SET state = 'failed' WHERE number = 6"
    ),
}


@pytest.mark.parametrize("what", WORK)
def test_what_only_the_target_has_is_not_lost(mixed_pair: Pair, what: str) -> None:
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    WORK[what](target)
    refused(
        source,
        target,
        r"must not have got further in .* than in .*, but it has \(trial \d\); copy it the other "
        "way round",
    )


@pytest.mark.parametrize("what", ["an attempt", "a suggestion"])
def test_a_study_that_went_on_in_both_is_not_mixed(mixed_pair: Pair, what: str) -> None:
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    finish_one(target)
    WORK[what](source)
    refused(source, target, r"it has got on in both \(trial \d\); to keep both, copy this one")


def test_a_study_has_one_name_in_a_database(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    copied(source, target, STUDY.name, "renamed")
    refused(
        source,
        target,
        "is in .* already, as 'renamed'; `--rename digits-beta=renamed` brings that one up",
    )


def test_a_study_that_is_not_there_is_named(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    with pytest.raises(StudyNotFound, match="got 'digits'; did you mean 'digits-beta'"):
        copied(source, target, "digits")


# --- What goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("trials", [2, 9], ids=["while writing", "while reading back"])
def test_a_copy_that_is_killed_leaves_nothing_and_can_be_repeated(
    mixed_pair: Pair, trials: int
) -> None:
    source, target = mixed_pair
    rich_study(source)
    process = multiprocessing.get_context("spawn").Process(
        target=die_while_copying, args=(source.url, target.url, trials)
    )
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    assert not any(plain_rows(target).values())
    assert copied(source, target).is_new
    assert not copied(source, target).changed


def test_an_update_that_is_killed_leaves_the_earlier_copy(mixed_pair: Pair) -> None:
    source, target = mixed_pair
    rich_study(source)
    copied(source, target)
    before = plain_rows(target, keys=True)
    add_trials(source, STUDY.name, [new_trial(7)])
    process = multiprocessing.get_context("spawn").Process(
        target=die_while_copying, args=(source.url, target.url, 8)
    )
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    assert plain_rows(target, keys=True) == before
    assert copied(source, target).written == 1


SPOIL = {
    "sqlite": (
        (
            "CREATE TRIGGER spoil AFTER INSERT ON rdsweep_epochs BEGIN UPDATE rdsweep_epochs "
            "SET rate_nats = rate_nats * (1 + 1e-15) WHERE trial_id = NEW.trial_id; END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "NEW.rate_nats := NEW.rate_nats * (1 + 1e-15); RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER spoil BEFORE INSERT ON rdsweep_epochs "
            "FOR EACH ROW EXECUTE FUNCTION spoil()"
        ),
    ),
}
DROP = {
    "sqlite": (
        (
            "CREATE TRIGGER drop_one BEFORE INSERT ON rdsweep_latents WHEN NEW.latent = 3 "
            "BEGIN SELECT RAISE(IGNORE); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION drop_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF NEW.latent = 3 THEN RETURN NULL; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER drop_one BEFORE INSERT ON rdsweep_latents "
            "FOR EACH ROW EXECUTE FUNCTION drop_one()"
        ),
    ),
}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (SPOIL, "must read back from .* as it was written, but its checksum is .* instead of"),
        (DROP, "but rdsweep_latents has 6 rows instead of 8; nothing was changed there"),
    ],
    ids=["the last bit of a float", "a row"],
)
def test_a_copy_that_differs_is_not_kept(
    mixed_pair: Pair, damage: dict[str, tuple[str, ...]], message: str
) -> None:
    """The target's own triggers alter what is written, as a faulty disk or driver could."""
    source, target = mixed_pair
    rich_study(source)
    sql(target, *damage["sqlite" if target.file else "postgresql"])
    with pytest.raises(CopyError, match=message):
        copied(source, target)
    assert not any(plain_rows(target).values())


def test_a_worker_of_the_target_that_takes_a_trial_meanwhile_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it changes under a copy's feet ends that copy, and then the target is further."""
    small_chunks(monkeypatch)
    with empty_databases(("sqlite", "postgresql"), tmp_path) as (source, target):
        rich_study(source)
        copied(source, target)
        mark_told(source, STUDY.name, range(7))
        sql(source, "UPDATE rdsweep_trials SET seed = seed + 1 WHERE state = 'queued'")
        taken: list[int] = []

        def work(_done: int, _all: int) -> None:
            if not taken:
                taken.append(take(target, "dora").number)

        errand = Errand(study=STUDY.name, name=STUDY.name)
        with pytest.raises(CopyError, match=r"it has got on in both \(trial 4\)"):
            copy_study(route(source, target), errand, work)
        assert taken == [4]
        assert query_trials(target, STUDY.name, where="number = 4")[0].state == "running"


# --- One database under two names -----------------------------------------------------------------


def test_a_file_is_the_same_under_every_name(tmp_path: Path) -> None:
    with empty_databases(("sqlite", "sqlite"), tmp_path) as (source, target):
        (tmp_path / "other.db").symlink_to(tmp_path / "source.db")
        other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
        missing = open_database(f"sqlite:///{tmp_path / 'missing.db'}")
        assert are_same(source, other)
        assert not are_same(source, target)
        assert not are_same(source, missing)
        assert are_same(missing, missing)
        for database in other, missing:
            database.close()


def test_a_servers_database_is_the_same_under_every_name(tmp_path: Path) -> None:
    with empty_databases(("postgresql", "postgresql"), tmp_path) as (source, target):
        other = open_database(under_another_name(source.url))
        assert "@localhost" in other.where
        assert "@localhost" not in source.where
        assert are_same(source, other)
        assert not are_same(source, target)
        other.close()
    with empty_databases(("sqlite", "postgresql"), tmp_path) as (source, target):
        assert not are_same(source, target)


def under_another_name(url: str) -> str:
    """Returns the URL with another name of this machine; a password file knows but one."""
    parsed = make_url(url).set(host="localhost")
    if isinstance(passfile := parsed.query.get("passfile"), str):
        parsed = parsed.set(password=Path(passfile).read_text().strip().rpartition(":")[2])
    return parsed.render_as_string(hide_password=False)
