"""Equivalent trials: one is trained, the others wait for it and take its results over."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from studies.database import Database, open_database
from studies.errors import LeaseLost, NothingToReuse, StudyNotFound
from studies.leases import release_trial, take_trial
from studies.outcomes import diverge_trial, fail_trial, finish_trial, store_epoch
from studies.queries import artifacts_of, epochs_of, latents_of, query_trials
from studies.queue import add_trials, counts, untold_trials
from studies.records import ArtifactRecord, Lease, TrialRecord
from studies.reuse import evaluation_of, finished_equivalent, reuse_trial
from studies.sqlite import WRITES
from studies.study_records import create_study
from studies.tables import AttemptRow, Base
from study_examples import ARTIFACT, EVALUATION, LATENTS, STUDY, epoch_record, new_trial

SAME, OTHER = "5a" * 32, "07" * 32
CHECKPOINT = ArtifactRecord(
    kind="checkpoint",
    media_type="application/octet-stream",
    content=None,
    path="digits-beta/0/checkpoint.safetensors",
    sha256="c0" * 32,
    size=123_456,
)
EXPIRED = "UPDATE rdsweep_trials SET lease_until = lease_until - 3600"


def study_of_kinds(database: Database, *kinds: str | None, name: str = STUDY.name) -> None:
    """A study with a queued trial for each equivalence."""
    create_study(database, replace(STUDY, name=name))
    trials = [new_trial(number, equivalence=kind) for number, kind in enumerate(kinds)]
    add_trials(database, name, trials)


def taken(database: Database, worker: str = "anna", *, dedupe: bool = True) -> Lease | None:
    return take_trial(
        database, STUDY.name, worker, lease_seconds=600.0, max_attempts=3, dedupe=dedupe
    )


def take(database: Database, worker: str = "anna") -> Lease:
    lease = taken(database, worker)
    assert lease is not None
    return lease


def finish(database: Database, lease: Lease) -> None:
    store_epoch(database, lease, epoch_record(1))
    finish_trial(database, lease, EVALUATION, LATENTS, [ARTIFACT, CHECKPOINT])


def take_second(database: Database) -> Lease:
    """Finishes trial 0 and returns a lease on trial 1, which is equivalent."""
    study_of_kinds(database, SAME, SAME)
    finish(database, take(database))
    return take(database, "bert")


def trial(database: Database, number: int) -> TrialRecord:
    (found,) = query_trials(database, STUDY.name, where=f"number = {number}")
    return found


def everything(database: Database) -> dict[str, list[str]]:
    with database.read() as connection:
        return {
            name: sorted(repr(row) for row in connection.execute(select(table)))
            for name, table in Base.metadata.tables.items()
        }


def source_of(database: Database, kind: str = SAME) -> int | None:
    found = finished_equivalent(database, STUDY.name, kind)
    return None if found is None else found.number


# --- Waiting --------------------------------------------------------------------------------------


def test_a_trial_waits_while_an_equivalent_one_is_trained(database: Database) -> None:
    study_of_kinds(database, SAME, SAME, OTHER, SAME)
    assert [take(database, worker).number for worker in ("anna", "bert")] == [0, 2]
    assert taken(database, "carl") is None
    assert counts(database, STUDY.name)["queued"] == 2


def test_a_lease_carries_the_equivalence(database: Database) -> None:
    study_of_kinds(database, SAME, None)
    assert [take(database).equivalence, take(database).equivalence] == [SAME, None]


def test_trials_of_unknown_equivalence_wait_for_nothing(database: Database) -> None:
    study_of_kinds(database, None, None)
    assert [take(database).number, take(database).number] == [0, 1]


def test_without_dedupe_equivalent_trials_are_trained_side_by_side(database: Database) -> None:
    study_of_kinds(database, SAME, SAME)
    leases = [taken(database, dedupe=False) for _ in range(2)]
    assert [lease.number for lease in leases if lease is not None] == [0, 1]


def test_an_equivalent_trial_of_another_study_is_not_waited_for(database: Database) -> None:
    study_of_kinds(database, SAME, name="another")
    take_trial(database, "another", "zoe", lease_seconds=600.0, max_attempts=3, dedupe=True)
    study_of_kinds(database, SAME)
    assert take(database).number == 0


@pytest.mark.parametrize("end", ["finish", "diverge", "fail", "release"])
def test_the_wait_is_over_when_the_other_trial_has_ended(database: Database, end: str) -> None:
    study_of_kinds(database, SAME, SAME)
    lease = take(database)
    ends: dict[str, Callable[[], None]] = {
        "finish": lambda: finish(database, lease),
        "diverge": lambda: diverge_trial(database, lease, "epoch 1"),
        "fail": lambda: fail_trial(database, lease, "Traceback"),
        "release": lambda: release_trial(database, lease, "Ctrl-C"),
    }
    ends[end]()
    assert take(database, "bert").number == (0 if end == "release" else 1)


def test_a_trial_whose_lease_ran_out_is_taken_over_and_the_other_goes_on_waiting(
    database: Database,
) -> None:
    study_of_kinds(database, SAME, SAME)
    take(database)
    with database.write() as connection:
        connection.execute(text(EXPIRED))
    lease = take(database, "bert")
    assert (lease.number, lease.attempt) == (0, 2)
    assert taken(database, "carl") is None


def test_workers_that_take_at_the_same_moment_take_no_equivalent_trials(
    database: Database,
) -> None:
    """One has chosen and not yet committed, where rows are locked and the table is not."""
    study_of_kinds(database, SAME, SAME)
    another, chosen = open_database(database.url), Event()

    @event.listens_for(database.engine, "commit")
    def linger(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES):
            chosen.set()
            time.sleep(0.3)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(take, database)
        assert chosen.wait(timeout=30)
        second = taken(another, "bert")
    event.remove(database.engine, "commit", linger)
    another.close()
    assert first.result().number == 0
    assert second is None


# --- Finding --------------------------------------------------------------------------------------


def test_the_first_trained_trial_is_found_and_no_other(database: Database) -> None:
    study_of_kinds(database, SAME, OTHER, SAME, SAME, SAME)
    failed, other = take(database), take(database)
    fail_trial(database, failed, "Traceback")
    finish(database, other)
    assert source_of(database) is None
    diverged = take(database)
    assert source_of(database) is None
    diverge_trial(database, diverged, "epoch 1")
    assert source_of(database) == 2
    reuse_trial(database, take(database), 2)
    assert source_of(database) == 2
    finish(database, take(database))
    assert source_of(database) == 2
    assert source_of(database, OTHER) == 1
    assert source_of(database, "99" * 32) is None


def test_a_reused_trial_is_never_the_source(database: Database) -> None:
    """Its number can be the lower one: it waited in the queue while the other was trained."""
    study_of_kinds(database, SAME, SAME)
    first = take(database)
    second = taken(database, "bert", dedupe=False)
    assert second is not None
    finish(database, second)
    reuse_trial(database, first, 1)
    assert trial(database, 0).reused_from == 1
    assert source_of(database) == 1


def test_an_unknown_study_is_named_with_its_nearest_neighbour(database: Database) -> None:
    study_of_kinds(database)
    with pytest.raises(StudyNotFound, match=r"got 'digit-beta'; did you mean 'digits-beta'\?"):
        finished_equivalent(database, "digit-beta", SAME)


# --- Taking over ----------------------------------------------------------------------------------


def test_a_reused_trial_has_the_results_of_the_trained_one(database: Database) -> None:
    reuse_trial(database, take_second(database), 0)
    source, reused = query_trials(database, STUDY.name)
    assert evaluation_of(reused) == evaluation_of(source) == EVALUATION
    assert (reused.state, reused.reused_from, reused.error) == ("complete", 0, None)
    assert (reused.seconds, reused.epoch, reused.attempt) == (0.0, 0, 1)
    assert (reused.beta, reused.worker) == (1.5, "bert")
    assert reused.finished_at is not None
    assert [record.number for record in untold_trials(database, STUDY.name)] == [0, 1]


def test_latents_and_artifacts_come_along_and_epochs_do_not(database: Database) -> None:
    reuse_trial(database, take_second(database), 0)
    assert latents_of(database, STUDY.name) == {0: LATENTS, 1: LATENTS}
    assert list(epochs_of(database, STUDY.name)) == [0]
    for artifact in ARTIFACT, CHECKPOINT:
        found = artifacts_of(database, STUDY.name, artifact.kind)
        assert found == {0: artifact, 1: artifact}


def test_metrics_that_differ_between_equivalent_trials_can_be_given(database: Database) -> None:
    """The same reconstructions under another fixed variance have another likelihood."""
    lease = take_second(database)
    changed = replace(
        evaluation_of(trial(database, 0)), distortion_nll_nats=90.0, elbo_nats=-100.5
    )
    reuse_trial(database, lease, 0, changed)
    assert evaluation_of(trial(database, 1)) == changed
    assert evaluation_of(trial(database, 0)) == EVALUATION


def test_a_trial_equivalent_to_a_diverged_one_has_diverged(database: Database) -> None:
    study_of_kinds(database, SAME, SAME)
    diverge_trial(database, take(database), "not finite in epoch 3, step 31")
    reuse_trial(database, take(database), 0)
    reused = trial(database, 1)
    assert (reused.state, reused.reused_from) == ("diverged", 0)
    assert reused.error == "not finite in epoch 3, step 31"
    assert reused.rate_nats is None


def test_the_history_says_where_the_results_are_from(database: Database) -> None:
    reuse_trial(database, take_second(database), 0)
    with database.read() as connection:
        statement = select(AttemptRow.outcome, AttemptRow.reason).order_by(AttemptRow.trial_id)
        outcomes = [(*row,) for row in connection.execute(statement)]
    assert outcomes == [("complete", None), ("complete", "equivalent to trial 0")]


def test_epochs_of_an_earlier_attempt_go_and_its_seconds_stay_spent(database: Database) -> None:
    study_of_kinds(database, SAME, SAME)
    first = take(database)
    second = taken(database, "bert", dedupe=False)
    assert second is not None
    store_epoch(database, second, epoch_record(1, seconds=2.0))
    release_trial(database, second, "Ctrl-C")
    finish(database, first)
    reuse_trial(database, take(database, "carl"), 0)
    assert list(epochs_of(database, STUDY.name)) == [0]
    assert (trial(database, 1).epoch, trial(database, 1).seconds) == (0, 2.0)


def test_a_takeover_that_is_written_again_changes_nothing(database: Database) -> None:
    lease = take_second(database)
    reuse_trial(database, lease, 0)
    before = everything(database)
    reuse_trial(database, lease, 0)
    assert everything(database) == before


def test_a_worker_that_lost_its_lease_takes_nothing_over(database: Database) -> None:
    lease = take_second(database)
    with database.write() as connection:
        connection.execute(text(EXPIRED))
    take(database, "carl")
    before = everything(database)
    with pytest.raises(LeaseLost, match="'bert' lost attempt 1 at trial 1"):
        reuse_trial(database, lease, 0)
    assert everything(database) == before


@pytest.mark.parametrize(
    ("number", "why"),
    [(1, "itself"), (2, "of another kind"), (3, "failed"), (4, "reused"), (9, "not there")],
)
def test_only_an_equivalent_trial_that_was_trained_to_its_end_can_be_reused(
    database: Database, number: int, why: str
) -> None:
    study_of_kinds(database, SAME, SAME, OTHER, SAME, SAME)
    leases = [taken(database, dedupe=False) for _ in range(5)]
    first, lease, other, failed, reused = (each for each in leases if each is not None)
    finish(database, first)
    finish(database, other)
    fail_trial(database, failed, "Traceback")
    reuse_trial(database, reused, 0)
    before = everything(database)
    with pytest.raises(NothingToReuse, match=f"but trial {number} of study 'digits-beta' is none"):
        reuse_trial(database, lease, number)
    assert everything(database) == before, why


def test_a_trial_of_unknown_equivalence_reuses_nothing(database: Database) -> None:
    study_of_kinds(database, None, None)
    finish(database, take(database))
    with pytest.raises(NothingToReuse, match="but trial 0 of study 'digits-beta' is none"):
        reuse_trial(database, take(database), 0)


def test_the_metrics_of_a_trial_are_those_of_its_evaluation(database: Database) -> None:
    study_of_kinds(database, SAME)
    finish(database, take(database))
    assert asdict(evaluation_of(trial(database, 0))) == asdict(EVALUATION)


def test_no_step_of_a_reuse_scans_the_table_of_trials(sqlite_database: Database) -> None:
    database = sqlite_database
    study_of_kinds(database, SAME, SAME, OTHER)
    statements: list[tuple[str, Any]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    finish(database, take(database))
    lease = take(database)
    assert source_of(database) == 0
    reuse_trial(database, lease, 0)
    event.remove(database.engine, "before_cursor_execute", note)

    checked = [each for each in statements if "rdsweep_trials" in each[0]]
    assert len(checked) > 10
    with database.read() as connection:
        for statement, parameters in checked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert not [row for row in plan if row[-1].startswith("SCAN rdsweep_trials")]
