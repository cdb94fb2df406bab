"""The history of a trial tells who tried it, and how each try ended."""

import pytest

from studies.attempts import attempts_of, count_attempts, repeated_trials
from studies.database import Database
from studies.errors import StudyNotFound
from studies.leases import release_trial, release_worker, take_trial
from studies.outcomes import diverge_trial, finish_trial, store_epoch
from studies.records import Lease
from study_examples import EVALUATION, LATENTS, epoch_record, study_of


def take(database: Database, study: str, worker: str) -> Lease:
    lease = take_trial(database, study, worker, lease_seconds=60.0, max_attempts=9)
    assert lease is not None
    return lease


def test_attempts_are_told_in_order_with_their_ends(database: Database) -> None:
    study = study_of(database, 2)
    lease = take(database, study, "first")
    store_epoch(database, lease, epoch_record(1, seconds=3.0))
    release_trial(database, lease, "asked to stop")
    take(database, study, "second")
    release_worker(database, "second", "killed by SIGKILL")
    finish_trial(database, take(database, study, "third"), EVALUATION, LATENTS, [])
    take(database, study, "fourth")

    history = attempts_of(database, study, [0, 1, 7])
    assert list(history) == [0, 1]
    told = [(each.attempt, each.worker, each.outcome, each.reason) for each in history[0]]
    assert told == [
        (1, "first", "released", "asked to stop"),
        (2, "second", "lost", "killed by SIGKILL"),
        (3, "third", "complete", None),
    ]
    assert [each.seconds for each in history[0]] == [3.0, 0.0, 0.0]
    ends = [each.ended_at for each in history[0]]
    assert all(end is not None for end in ends)
    starts = [each.started_at for each in history[0]]
    assert starts == sorted(starts)
    (running,) = history[1]
    assert (running.number, running.outcome, running.ended_at) == (1, None, None)


def test_ways_to_end_are_counted(database: Database) -> None:
    study = study_of(database, 3)
    release_trial(database, take(database, study, "a"), "asked to stop")
    diverge_trial(database, take(database, study, "a"), "NaN in epoch 1, step 2")
    finish_trial(database, take(database, study, "a"), EVALUATION, LATENTS, [])
    take(database, study, "b")
    counted = count_attempts(database, study)
    assert counted == {"released": 1, "diverged": 1, "complete": 1, None: 1}


def test_a_study_without_work_has_no_attempts(database: Database) -> None:
    study = study_of(database, 2)
    assert attempts_of(database, study, [0, 1]) == {}
    assert count_attempts(database, study) == {}
    assert repeated_trials(database, study, 5) == ([], 0)


def test_trials_of_several_attempts_come_unfinished_first_and_then_the_last_finished(
    database: Database,
) -> None:
    study = study_of(database, 4)
    for _ in range(4):
        lease = take(database, study, "slow")
        if lease.number < 3:  # trial 3 is tried once
            release_worker(database, "slow", "killed")
            finish_trial(database, take(database, study, "slow"), EVALUATION, LATENTS, [])
        else:
            diverge_trial(database, lease, "NaN")
    assert repeated_trials(database, study, 9) == ([2, 1, 0], 3)
    assert repeated_trials(database, study, 2) == ([2, 1], 3)


def test_a_running_trial_comes_before_the_finished_ones(database: Database) -> None:
    study = study_of(database, 2)
    for _ in range(2):
        take(database, study, "slow")
        release_worker(database, "slow", "killed")
        if attempts_of(database, study, [1]):
            take(database, study, "slow")
        else:
            finish_trial(database, take(database, study, "slow"), EVALUATION, LATENTS, [])
    assert repeated_trials(database, study, 9) == ([1, 0], 2)


def test_attempts_of_no_study_are_refused(database: Database) -> None:
    study_of(database, 0)
    with pytest.raises(StudyNotFound, match="got 'digits-bata'; did you mean 'digits-beta'"):
        attempts_of(database, "digits-bata", [0])
