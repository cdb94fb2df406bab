"""What the queue promises, on every back end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select, text

from studies.database import Database
from studies.errors import LeaseLost, RecordError, StudyNotFound
from studies.leases import (
    extend_lease,
    extend_leases,
    release_trial,
    release_worker,
    take_trial,
)
from studies.outcomes import diverge_trial, fail_trial, finish_trial, store_epoch
from studies.queue import add_trials, counts, mark_told, untold_trials
from studies.records import EpochRecord, Lease, TrialRecord
from studies.sampler_lease import acquire_sampler, release_sampler
from studies.study_records import create_study
from studies.tables import AttemptRow, Base, EpochRow, LatentRow, TrialRow
from studies.trial_rows import select_trials, trial_record
from studies.workers import list_workers, register_worker
from study_examples import (
    ARTIFACT,
    EVALUATION,
    LATENTS,
    STUDY,
    epoch_record,
    new_trial,
    study_of,
)


def take(database: Database, worker: str = "anna", seconds: float = 600.0) -> Lease:
    lease = take_trial(database, STUDY.name, worker, lease_seconds=seconds, max_attempts=3)
    assert lease is not None
    return lease


def nothing_to_take(database: Database, max_attempts: int = 3) -> bool:
    lease = take_trial(database, STUDY.name, "zoe", lease_seconds=600.0, max_attempts=max_attempts)
    return lease is None


def trial(database: Database, number: int = 0) -> TrialRecord:
    with database.read() as connection:
        return trial_record(
            connection.execute(select_trials().where(TrialRow.number == number)).one()
        )


def everything(database: Database) -> dict[str, list[str]]:
    """Returns all rows of all our tables."""
    with database.read() as connection:
        return {
            name: sorted(repr(row) for row in connection.execute(select(table)))
            for name, table in Base.metadata.tables.items()
        }


def register(database: Database, worker: str, process_started_at: float = 1.0) -> None:
    register_worker(
        database,
        STUDY.name,
        worker,
        host="here",
        pid=1,
        process_started_at=process_started_at,
        device="cpu",
        versions={},
    )


def attempts(database: Database) -> list[tuple[int, str, str | None]]:
    statement = select(AttemptRow.attempt, AttemptRow.worker, AttemptRow.outcome)
    with database.read() as connection:
        return [(*row,) for row in connection.execute(statement.order_by(AttemptRow.attempt))]


def epochs(database: Database) -> list[tuple[int, int]]:
    statement = select(EpochRow.epoch, EpochRow.attempt).order_by(EpochRow.epoch)
    with database.read() as connection:
        return [(*row,) for row in connection.execute(statement)]


def let_lease_expire(database: Database, number: int = 0) -> None:
    """Moves the end of a lease into the past, as the clock would."""
    with database.write() as connection:
        connection.execute(
            text("UPDATE rdsweep_trials SET lease_until = lease_until - 3600 WHERE number = :n"),
            {"n": number},
        )


WRITES: dict[str, Callable[[Database, Lease], None]] = {
    "epoch": lambda database, lease: store_epoch(database, lease, epoch_record(2)),
    "finish": lambda database, lease: finish_trial(
        database, lease, EVALUATION, LATENTS, [ARTIFACT]
    ),
    "diverge": lambda database, lease: diverge_trial(database, lease, "message"),
    "fail": lambda database, lease: fail_trial(database, lease, "Traceback"),
    "release": lambda database, lease: release_trial(database, lease, "Ctrl-C"),
    "extend": lambda database, lease: extend_lease(database, lease, 600.0),
}


def test_trials_are_handed_out_in_the_order_of_their_numbers(database: Database) -> None:
    create_study(database, STUDY)
    add_trials(database, STUDY.name, [new_trial(number) for number in (3, 0, 2, 1)])
    assert [take(database).number for _ in range(4)] == [0, 1, 2, 3]
    assert nothing_to_take(database)


def test_a_lease_carries_what_a_worker_needs(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    suggestion = new_trial(0)
    assert (lease.study, lease.number, lease.attempt) == (STUDY.name, 0, 1)
    assert (lease.worker_id, lease.uuid) == ("anna", trial(database).uuid)
    assert (lease.parameters, lease.config) == (suggestion.parameters, suggestion.config)


def test_a_trial_is_stored_with_every_field_of_its_suggestion(database: Database) -> None:
    create_study(database, STUDY)
    suggestion = new_trial(0, level=0.125, sigma2=0.25, seed=2**62, equivalence="5a" * 32)
    add_trials(database, STUDY.name, [suggestion])
    stored = asdict(trial(database))
    assert {name: stored[name] for name in asdict(suggestion)} == asdict(suggestion)
    assert stored["state"] == "queued"
    assert stored["worker"] is None
    assert stored["rate_nats"] is None


def test_adding_a_number_again_changes_nothing(database: Database) -> None:
    study_of(database, 2)
    take(database)
    before = everything(database)
    again = [new_trial(0, beta=99.0), new_trial(1), new_trial(1)]
    assert add_trials(database, STUDY.name, again) == []
    assert everything(database) == before
    assert add_trials(database, STUDY.name, [*again, new_trial(2), new_trial(2)]) == [2]


def test_more_trials_than_one_statement_can_take_are_added_and_told(database: Database) -> None:
    study_of(database, 1203)
    assert counts(database, STUDY.name)["queued"] == 1203
    with database.write() as connection:
        connection.execute(text("UPDATE rdsweep_trials SET state = 'complete'"))
    mark_told(database, STUDY.name, range(1202))
    assert [record.number for record in untold_trials(database, STUDY.name)] == [1202]


def test_a_trial_goes_from_the_queue_to_its_result(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    store_epoch(database, lease, epoch_record(1))
    store_epoch(database, lease, epoch_record(2))
    finish_trial(database, lease, EVALUATION, LATENTS, [ARTIFACT])

    done = trial(database)
    assert {name: getattr(done, name) for name in asdict(EVALUATION)} == asdict(EVALUATION)
    assert (done.state, done.epoch, done.attempt, done.seconds) == ("complete", 2, 1, 4.0)
    assert (done.worker, done.error, done.told) == ("anna", None, False)
    assert done.started_at is not None
    assert done.finished_at is not None
    assert done.created_at <= done.started_at <= done.finished_at
    assert attempts(database) == [(1, "anna", "complete")]
    assert epochs(database) == [(1, 1), (2, 1)]


def test_latents_and_artifacts_come_back_as_they_were(database: Database) -> None:
    study_of(database, 1)
    finish_trial(database, take(database), EVALUATION, LATENTS, [ARTIFACT])
    with database.read() as connection:
        latents = connection.execute(select(LatentRow).order_by(LatentRow.latent)).all()
        artifact = connection.execute(text("SELECT * FROM rdsweep_artifacts")).one()
    assert [row.kl_nats for row in latents] == [record.kl_nats for record in LATENTS]
    assert [row.active for row in latents] == [False, True, True, True]
    assert bytes(artifact.content) == ARTIFACT.content
    assert artifact.sha256 == ARTIFACT.sha256


def test_an_epoch_stored_twice_stands_there_once(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    store_epoch(database, lease, epoch_record(1))
    before = everything(database)
    store_epoch(database, lease, epoch_record(1))
    assert everything(database) == before


@pytest.mark.parametrize("end", ["finish", "diverge", "fail", "release"])
def test_an_end_that_is_written_again_changes_nothing(database: Database, end: str) -> None:
    """A worker whose connection broke cannot know whether its last write arrived."""
    study_of(database, 1)
    lease = take(database)
    WRITES[end](database, lease)
    before = everything(database)
    WRITES[end](database, lease)
    assert everything(database) == before


def test_a_diverged_trial_keeps_its_finite_epochs_and_has_no_metrics(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    store_epoch(database, lease, epoch_record(1))
    store_epoch(database, lease, epoch_record(2))
    diverge_trial(database, lease, "not finite in epoch 3, step 31")
    record = trial(database)
    assert (record.state, record.epoch, record.seconds) == ("diverged", 2, 4.0)
    assert record.error == "not finite in epoch 3, step 31"
    assert record.rate_nats is None
    assert record.collapsed is None
    assert epochs(database) == [(1, 1), (2, 1)]


def test_a_failed_trial_keeps_its_traceback(database: Database) -> None:
    study_of(database, 1)
    fail_trial(database, take(database), "Traceback:\n  a \0 byte and \udcff")
    record = trial(database)
    assert record.state == "failed"
    assert record.error == "Traceback:\n  a \\x00 byte and \\udcff"
    assert nothing_to_take(database)


def test_a_released_trial_is_next_and_keeps_its_epochs(database: Database) -> None:
    study_of(database, 2)
    lease = take(database)
    store_epoch(database, lease, epoch_record(1))
    release_trial(database, lease, "Ctrl-C")
    record = trial(database)
    assert (record.state, record.worker, record.epoch) == ("queued", None, 1)
    again = take(database, "bert")
    assert (again.number, again.attempt, again.uuid) == (0, 2, lease.uuid)
    assert epochs(database) == [(1, 1)]


def test_releases_never_use_up_the_attempts(database: Database) -> None:
    study_of(database, 1)
    for _ in range(5):
        release_trial(database, take(database), "Ctrl-C")
    assert take(database).attempt == 6


def test_a_running_trial_is_left_alone_while_its_lease_lasts(database: Database) -> None:
    study_of(database, 1)
    take(database)
    assert nothing_to_take(database)


def test_an_expired_lease_hands_the_trial_to_the_next_worker(database: Database) -> None:
    study_of(database, 1)
    take(database, "anna", seconds=0.05)
    time.sleep(0.1)
    lease = take(database, "bert")
    assert (lease.number, lease.attempt) == (0, 2)
    assert attempts(database) == [(1, "anna", "lost"), (2, "bert", None)]


def test_abandoned_trials_come_before_queued_ones(database: Database) -> None:
    """They are begun: whoever comes next goes on with them, whatever their numbers."""
    study_of(database, 2)
    released, abandoned = take(database), take(database)
    release_trial(database, released, "asked to stop")
    let_lease_expire(database, abandoned.number)
    assert [take(database).number, take(database).number] == [1, 0]


def test_an_extended_lease_does_not_expire(database: Database) -> None:
    study_of(database, 1)
    lease = take(database, seconds=0.05)
    extend_lease(database, lease, 600.0)
    time.sleep(0.1)
    assert nothing_to_take(database)


def test_many_leases_are_extended_at_once_and_those_that_are_lost_are_told(
    database: Database,
) -> None:
    """Also one of a trial that the same worker has taken again meanwhile."""
    study_of(database, 3)
    leases = [take(database, seconds=600.0) for _ in range(3)]
    release_trial(database, leases[1], "asked to stop")
    again = take(database, seconds=600.0)
    assert extend_leases(database, [*leases, again], 0.0) == [leases[1]]
    time.sleep(0.02)
    assert [take(database).number for _ in range(3)] == [0, 1, 2]
    assert extend_leases(database, [*leases, again], 600.0) == [*leases, again]
    assert extend_leases(database, [], 600.0) == []


def test_a_late_worker_goes_on_if_nobody_took_its_trial(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    let_lease_expire(database)
    store_epoch(database, lease, epoch_record(1))
    extend_lease(database, lease, 600.0)
    assert nothing_to_take(database)


def lose(database: Database, lease: Lease, way: str) -> None:
    """Takes the lease away from its holder."""
    if way == "put back":
        release_worker(database, lease.worker_id, "its process is gone")
    elif way == "released":
        release_trial(database, lease, "Ctrl-C")
        take(database, "bert")
    else:
        let_lease_expire(database)
        take(database, lease.worker_id if way == "taken by itself" else "bert")


@pytest.mark.parametrize(
    ("way", "write"),
    [
        pair
        for pair in product(("taken over", "released", "put back", "taken by itself"), WRITES)
        if pair != ("released", "release")  # no loss: the same release once more
    ],
)
def test_a_worker_that_lost_its_lease_changes_nothing(
    database: Database, way: str, write: str
) -> None:
    study_of(database, 1)
    lease = take(database)
    store_epoch(database, lease, epoch_record(1))
    lose(database, lease, way)
    before = everything(database)
    with pytest.raises(LeaseLost, match="'anna' lost attempt 1 at trial 0 of study 'digits-beta'"):
        WRITES[write](database, lease)
    assert everything(database) == before


def test_a_finished_trial_takes_no_other_end(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    finish_trial(database, lease, EVALUATION, LATENTS, [])
    before = everything(database)
    with pytest.raises(LeaseLost, match="lost attempt 1"):
        fail_trial(database, lease, "Traceback")
    with pytest.raises(LeaseLost, match="lost attempt 1"):
        store_epoch(database, lease, epoch_record(1))
    assert everything(database) == before


def test_a_trial_whose_attempts_are_used_up_fails_with_its_history(database: Database) -> None:
    study_of(database, 2)
    for worker in "anna", "bert":
        assert take(database, worker).number == 0
        release_worker(database, worker, "its process is gone")
    release_trial(database, take(database, "carl"), "Ctrl-C")
    assert take(database, "dora").number == 0
    assert take(database, "emil").number == 1
    let_lease_expire(database)

    assert nothing_to_take(database, max_attempts=3)
    record = trial(database)
    assert record.state == "failed"
    assert record.error == (
        "3 attempts ended without a result: attempt 1 by anna: its process is gone; "
        "attempt 2 by bert: its process is gone; attempt 4 by dora: its lease ran out."
    )
    assert record.finished_at is not None
    assert [found.number for found in untold_trials(database, STUDY.name)] == [0]


def test_a_used_up_trial_does_not_hide_the_next_one(database: Database) -> None:
    study_of(database, 2)
    take(database, "anna")
    release_worker(database, "anna", "its process is gone")
    lease = take_trial(database, STUDY.name, "bert", lease_seconds=60.0, max_attempts=1)
    assert lease is not None
    assert lease.number == 1
    assert trial(database, 0).state == "failed"


def test_a_dead_workers_trials_sampler_lease_and_record_are_released(database: Database) -> None:
    study_of(database, 3)
    register(database, "anna")
    assert acquire_sampler(database, STUDY.name, "anna", 600.0)
    assert [take(database, worker).number for worker in ("anna", "bert", "anna")] == [0, 1, 2]

    assert release_worker(database, "anna", "its process is gone") == [0, 2]
    assert [trial(database, number).state for number in range(3)] == [
        "queued",
        "running",
        "queued",
    ]
    assert acquire_sampler(database, STUDY.name, "bert", 600.0)
    assert list_workers(database)[0].ended_at is not None

    before = everything(database)
    assert release_worker(database, "anna", "its process is gone") == []
    assert everything(database) == before


def test_a_worker_stopped_on_purpose_costs_its_trials_no_attempt(database: Database) -> None:
    """Ctrl-C twice, or a scheduler's time limit: five of them do not make a trial fail."""
    study_of(database, 1)
    register(database, "anna")
    assert acquire_sampler(database, STUDY.name, "anna", 600.0)
    for _ in range(5):
        lease = take_trial(database, STUDY.name, "anna", lease_seconds=60.0, max_attempts=1)
        assert lease is not None
        assert release_worker(database, "anna", "stopped at once", counts=False) == [0]
    assert attempts(database) == [(attempt, "anna", "released") for attempt in range(1, 6)]
    assert acquire_sampler(database, STUDY.name, "bert", 600.0)
    assert list_workers(database)[0].ended_at is not None

    before = everything(database)
    assert release_worker(database, "anna", "stopped at once", counts=False) == []
    assert everything(database) == before


def test_a_takeover_forgets_the_epochs_that_it_trains_again(database: Database) -> None:
    study_of(database, 1)
    lease = take(database)
    for epoch in 1, 2, 3:
        store_epoch(database, lease, epoch_record(epoch))
    let_lease_expire(database)
    lease = take(database, "bert")
    store_epoch(database, lease, epoch_record(2))
    assert epochs(database) == [(1, 1), (2, 2)]
    assert trial(database).epoch == 2


def test_seconds_are_those_of_all_attempts_also_of_epochs_trained_twice(
    database: Database,
) -> None:
    study_of(database, 1)
    lease = take(database)
    for epoch in 1, 2, 3:
        store_epoch(database, lease, epoch_record(epoch, seconds=2.0))
    assert trial(database).seconds == 6.0
    let_lease_expire(database)
    lease = take(database, "bert")
    store_epoch(database, lease, epoch_record(2, seconds=3.0))
    assert trial(database).seconds == 9.0
    release_trial(database, lease, "Ctrl-C")
    assert trial(database).seconds == 9.0
    lease = take(database, "carl")
    store_epoch(database, lease, epoch_record(3, seconds=4.0))
    finish_trial(database, lease, EVALUATION, LATENTS, [])
    assert trial(database).seconds == 13.0


def test_outcomes_are_told_once_in_order(database: Database) -> None:
    study_of(database, 5)
    leases = [take(database) for _ in range(4)]
    diverge_trial(database, leases[2], "epoch 1")
    finish_trial(database, leases[0], EVALUATION, LATENTS, [])
    fail_trial(database, leases[3], "Traceback")

    untold = untold_trials(database, STUDY.name)
    assert [record.number for record in untold] == [0, 2, 3]
    assert [record.state for record in untold] == ["complete", "diverged", "failed"]
    mark_told(database, STUDY.name, [0, 1, 3, 4])
    assert [record.number for record in untold_trials(database, STUDY.name)] == [2]
    finish_trial(database, leases[1], EVALUATION, LATENTS, [])
    assert [record.number for record in untold_trials(database, STUDY.name)] == [1, 2]


def test_counts_name_every_state(database: Database) -> None:
    study_of(database, 3)
    finish_trial(database, take(database), EVALUATION, LATENTS, [])
    take(database)
    assert counts(database, STUDY.name) == {
        "queued": 1,
        "running": 1,
        "complete": 1,
        "diverged": 0,
        "failed": 0,
    }


def test_studies_do_not_share_a_queue(database: Database) -> None:
    study_of(database, 1)
    study_of(database, 1, name="other")
    take(database)
    assert nothing_to_take(database)
    assert counts(database, "other")["queued"] == 1


def test_one_worker_at_a_time_asks_the_sampler(database: Database) -> None:
    study_of(database, 0)
    assert acquire_sampler(database, STUDY.name, "anna", 600.0)
    assert acquire_sampler(database, STUDY.name, "anna", 600.0)
    assert not acquire_sampler(database, STUDY.name, "bert", 600.0)
    release_sampler(database, STUDY.name, "bert")
    assert not acquire_sampler(database, STUDY.name, "bert", 600.0)
    release_sampler(database, STUDY.name, "anna")
    assert acquire_sampler(database, STUDY.name, "bert", 600.0)


def test_a_sampler_lease_that_ran_out_passes_to_the_next(database: Database) -> None:
    study_of(database, 0)
    assert acquire_sampler(database, STUDY.name, "anna", 0.05)
    time.sleep(0.1)
    assert acquire_sampler(database, STUDY.name, "bert", 600.0)
    assert not acquire_sampler(database, STUDY.name, "anna", 600.0)


def test_an_unknown_study_is_named_with_its_nearest_neighbour(database: Database) -> None:
    study_of(database, 0)
    message = r"got 'digit-beta'; did you mean 'digits-beta'\?"
    for call in (
        lambda: add_trials(database, "digit-beta", []),
        lambda: take_trial(database, "digit-beta", "anna", lease_seconds=60.0, max_attempts=3),
        lambda: counts(database, "digit-beta"),
        lambda: untold_trials(database, "digit-beta"),
        lambda: mark_told(database, "digit-beta", [0]),
        lambda: acquire_sampler(database, "digit-beta", "anna", 60.0),
    ):
        with pytest.raises(StudyNotFound, match=message):
            call()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_number_that_is_not_finite_reaches_no_column(database: Database, value: float) -> None:
    study_of(database, 1)
    before = everything(database)
    with pytest.raises(RecordError, match=r"`isfinite\(rate_nats\)` must hold for EpochRecord"):
        replace(epoch_record(1), rate_nats=value)
    with pytest.raises(RecordError, match=r"isfinite\(psnr_db\)` must hold for EvaluationRecord"):
        replace(EVALUATION, psnr_db=value)
    with pytest.raises(RecordError, match=r"`isfinite\(beta\)` must hold for NewTrial"):
        new_trial(1, beta=value)
    with pytest.raises(RecordError, match=r"`isfinite\(value\)` must hold for a column"):
        register(database, "anna", process_started_at=value)
    assert everything(database) == before


@pytest.mark.parametrize("notes", ["I saturates", ("I saturates", 1), None, 3])
def test_notes_are_a_list_of_texts_and_no_text_alone(notes: Any) -> None:
    with pytest.raises(RecordError, match=r"`istexts\(notes\)` must hold for EvaluationRecord"):
        replace(EVALUATION, notes=notes)


def test_a_trial_without_beta_is_stored_and_handed_out(database: Database) -> None:
    create_study(database, STUDY)
    no_beta = dict.fromkeys(("beta", "raw_weight", "beta_norm", "weights"))
    suggestion = new_trial(0, regulariser="geco", prior="vamp", posterior="full", **no_beta)
    add_trials(database, STUDY.name, [suggestion])
    finish_trial(database, take(database), EVALUATION, LATENTS, [])
    stored = asdict(trial(database))
    assert {name: stored[name] for name in asdict(suggestion)} == asdict(suggestion)
    assert stored["reused_from"] is None


def test_a_document_that_is_no_json_reaches_no_column(database: Database) -> None:
    study_of(database, 0)
    trials = [new_trial(0), new_trial(1, parameters={"beta": math.nan})]
    with pytest.raises(RecordError, match="Out of range float values are not JSON compliant"):
        add_trials(database, STUDY.name, trials)
    with pytest.raises(RecordError, match="type object is not JSON serializable"):
        add_trials(database, STUDY.name, [new_trial(0, config={"model": object()})])
    assert counts(database, STUDY.name)["queued"] == 0


def test_numpy_numbers_are_stored_as_numbers(database: Database) -> None:
    study_of(database, 1)
    float32: Any = np.float32(1.5)
    int64: Any = np.int64(2)
    evaluation = replace(EVALUATION, rate_nats=float32, active_units=int64)
    assert type(evaluation.rate_nats) is float
    finish_trial(database, take(database), evaluation, LATENTS, [])
    assert (trial(database).rate_nats, trial(database).active_units) == (1.5, 2)


def test_a_count_must_be_a_whole_number() -> None:
    with pytest.raises(RecordError, match=r"`isinteger\(epoch\)` must hold for EpochRecord"):
        EpochRecord(**asdict(epoch_record(1)) | {"epoch": 1.5})


def test_no_step_of_a_turn_scans_the_table_of_trials(sqlite_database: Database) -> None:
    """The cost of a turn must not grow with the number of trials: each statement has an index."""
    database = sqlite_database
    study_of(database, 2)
    statements: list[tuple[str, Any]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    lease = take(database)
    extend_lease(database, lease, 60.0)
    store_epoch(database, lease, epoch_record(1))
    finish_trial(database, lease, EVALUATION, LATENTS, [ARTIFACT])
    untold_trials(database, STUDY.name)
    mark_told(database, STUDY.name, [0])
    release_worker(database, "anna", "its process is gone")
    assert nothing_to_take(database) is False
    event.remove(database.engine, "before_cursor_execute", note)

    checked = [each for each in statements if "rdsweep_trials" in each[0]]
    assert len(checked) > 10
    with database.read() as connection:
        for statement, parameters in checked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert not [row for row in plan if row[-1].startswith("SCAN rdsweep_trials")]
