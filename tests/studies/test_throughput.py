"""How fast a study goes on follows from when its attempts began and ended."""

from typing import Any

import pytest
from sqlalchemy import select, text

from studies.clock import now
from studies.database import Database
from studies.leases import take_trial
from studies.outcomes import finish_trial, store_epoch
from studies.records import Lease
from studies.throughput import throughput
from study_examples import EVALUATION, LATENTS, epoch_record, study_of


def work(database: Database, study: str, epochs: int, *, ends: bool = True) -> Lease:
    """One attempt at the next trial, with so many epochs."""
    lease = take_trial(database, study, "worker", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    for epoch in range(1, epochs + 1):
        store_epoch(database, lease, epoch_record(epoch))
    if ends:
        finish_trial(database, lease, EVALUATION, LATENTS, [])
    return lease


def moved(database: Database, number: int, started: float, ended: float | None) -> None:
    """Sets when the attempts at a trial took place, in seconds before now."""
    with database.write() as connection:
        moment = connection.scalar(select(now()))
        assert moment is not None
        values: dict[str, Any] = {
            "started": moment - started,
            "ended": None if ended is None else moment - ended,
            "number": number,
        }
        which = "trial_id = (SELECT id FROM rdsweep_trials WHERE number = :number)"
        connection.execute(
            text(
                "UPDATE rdsweep_attempts SET started_at = :started, "
                f"ended_at = CAST(:ended AS DOUBLE PRECISION) WHERE {which}"
            ),
            values,
        )
        connection.execute(
            text(
                "UPDATE rdsweep_trials SET finished_at = CAST(:ended AS DOUBLE PRECISION) "
                "WHERE number = :number"
            ),
            values,
        )


def test_a_study_without_attempts_has_none(database: Database) -> None:
    assert throughput(database, study_of(database, 3)) is None


def test_trials_and_epochs_of_a_short_study_count_from_its_start(database: Database) -> None:
    """Two trials of four epochs in 100 s, and a third one half trained: 5 of 8 are missing."""
    study = study_of(database, 3, trials_wanted=8)
    for number, epochs, ends in ((0, 4, True), (1, 4, True), (2, 2, False)):
        work(database, study, epochs, ends=ends)
        moved(database, number, 100.0 - 40 * number, 60.0 - 40 * number if ends else None)
    found = throughput(database, study)
    assert found is not None
    assert found.seconds == pytest.approx(100, abs=2)
    assert (found.trials, found.epochs) == (2, 10)
    assert found.trials_per_hour == pytest.approx(72, rel=0.02)
    assert found.epochs_per_second == pytest.approx(0.1, rel=0.02)
    assert found.seconds_left == pytest.approx(6 * 50, rel=0.02)


def test_only_the_last_hour_counts_and_of_what_began_before_its_share(database: Database) -> None:
    """An attempt of 6 epochs over 7200 s gives 3 to the last hour; one of the day before none."""
    study = study_of(database, 2, trials_wanted=3)
    work(database, study, 5)
    moved(database, 0, 90_000.0, 86_400.0)
    work(database, study, 6, ends=False)
    moved(database, 1, 7200.0, None)
    found = throughput(database, study)
    assert found is not None
    assert found.seconds == pytest.approx(3600, abs=2)
    assert found.trials == 0
    assert found.epochs == pytest.approx(3, rel=0.01)


def test_where_no_trial_finished_yet_the_epochs_tell_how_long_it_takes(database: Database) -> None:
    """5 of 20 epochs in 50 s; 3 trials of 20 epochs are wanted, so 55 epochs are left."""
    study = study_of(database, 1, trials_wanted=3)
    work(database, study, 5, ends=False)
    moved(database, 0, 50.0, None)
    found = throughput(database, study)
    assert found is not None
    assert found.seconds_left == pytest.approx(550, rel=0.05)


def test_a_study_at_rest_tells_of_its_last_hour_of_work_and_of_no_end(database: Database) -> None:
    study = study_of(database, 2, trials_wanted=9)
    work(database, study, 4)
    moved(database, 0, 50_000.0, 49_960.0)
    found = throughput(database, study)
    assert found is not None
    assert found.seconds == pytest.approx(40, abs=0.1)
    assert (found.trials, found.epochs, found.seconds_left) == (1, 4, None)


def test_epochs_of_a_lost_attempt_count_for_the_attempt_that_kept_them(database: Database) -> None:
    """Three epochs, the last two of them trained again by another attempt."""
    from studies.leases import release_worker

    study = study_of(database, 1)
    work(database, study, 3, ends=False)
    release_worker(database, "worker", "killed")
    lease = take_trial(database, study, "next", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    for epoch in (2, 3):
        store_epoch(database, lease, epoch_record(epoch))
    found = throughput(database, study)
    assert found is not None
    assert found.epochs == 3
