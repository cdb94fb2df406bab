"""A sound record breaks no invariant whatever its trials went through; each tampering breaks one."""

import pytest
from sqlalchemy import text

from studies.database import Database
from studies.invariants import INVARIANTS, broken_invariants
from studies.leases import release_trial, release_worker, take_trial
from studies.outcomes import diverge_trial, fail_trial, finish_trial, store_epoch
from studies.queue import add_trials, mark_told
from studies.records import Lease
from studies.repairs import close_open_attempts, drop_idle_leases, forget_early_tells
from studies.reuse import reuse_trial
from study_examples import ARTIFACT, EVALUATION, LATENTS, epoch_record, new_trial, study_of

COMPLETE, DIVERGED, FAILED, REUSED, RUNNING, QUEUED = range(6)


def take(database: Database, study: str, *, max_attempts: int = 9) -> Lease:
    lease = take_trial(database, study, "worker", lease_seconds=60.0, max_attempts=max_attempts)
    assert lease is not None
    return lease


def train(database: Database, lease: Lease, *epochs: int) -> None:
    for epoch in epochs:
        store_epoch(database, lease, epoch_record(epoch))


@pytest.fixture
def study(database: Database) -> str:
    """One trial of each kind, with attempts that were released, lost and taken over."""
    name = study_of(database, 0)
    same = {REUSED: "0" * 64, COMPLETE: "0" * 64}
    trials = [new_trial(number, equivalence=same.get(number)) for number in range(6)]
    add_trials(database, name, trials)
    lease = take(database, name)
    train(database, lease, 1, 2, 3)
    release_trial(database, lease, "asked to stop")
    train(database, take(database, name), 3)
    release_worker(database, "worker", "killed")
    lease = take(database, name)
    train(database, lease, 3, 4)
    finish_trial(database, lease, EVALUATION, LATENTS, [ARTIFACT])
    mark_told(database, name, [COMPLETE])
    lease = take(database, name)
    train(database, lease, 1)
    diverge_trial(database, lease, "NaN in epoch 2, step 12")
    fail_trial(database, take(database, name), "Traceback: …")
    reuse_trial(database, take(database, name), COMPLETE)
    train(database, take(database, name), 1, 2)
    return name


def test_a_record_of_everything_that_can_happen_is_sound(database: Database, study: str) -> None:
    assert broken_invariants(database, study) == []


def test_a_trial_that_was_given_up_is_sound(database: Database) -> None:
    study = study_of(database, 1)
    train(database, take(database, study), 1)
    release_worker(database, "worker", "killed")
    assert take_trial(database, study, "worker", lease_seconds=60, max_attempts=1) is None
    assert broken_invariants(database, study) == []


TRIALS = "UPDATE rdsweep_trials SET"
TAMPERINGS: dict[str, tuple[int, str]] = {
    "running_without_lease": (RUNNING, f"{TRIALS} lease_until = NULL WHERE number = 4"),
    "leased_at_rest": (COMPLETE, f"{TRIALS} lease_until = 1e9 WHERE number = 0"),
    "running_without_attempt": (
        RUNNING,
        "UPDATE rdsweep_attempts SET ended_at = 1e9, outcome = 'released' WHERE outcome IS NULL",
    ),
    "attempt_left_open": (
        FAILED,
        "UPDATE rdsweep_attempts SET ended_at = NULL WHERE outcome = 'failed'",
    ),
    "attempts_miscounted": (COMPLETE, "DELETE FROM rdsweep_attempts WHERE outcome = 'released'"),
    "deaths_miscounted": (COMPLETE, f"{TRIALS} deaths = 3 WHERE number = 0"),
    "not_ended_once": (
        DIVERGED,
        "UPDATE rdsweep_attempts SET outcome = 'complete' WHERE outcome = 'diverged'",
    ),
    "without_evaluation": (COMPLETE, f"{TRIALS} elbo_nats = NULL WHERE number = 0"),
    "without_latents": (
        COMPLETE,
        f"DELETE FROM rdsweep_latents WHERE latent = 3 AND {{of}} {COMPLETE})",
    ),
    "without_reason": (DIVERGED, f"{TRIALS} error = NULL WHERE number = 1"),
    "ends_disagree": (DIVERGED, f"{TRIALS} finished_at = NULL WHERE number = 1"),
    "told_too_early": (QUEUED, f"{TRIALS} told = true WHERE number = 5"),
    "epochs_with_gaps": (
        COMPLETE,
        f"DELETE FROM rdsweep_epochs WHERE epoch = 2 AND {{of}} {COMPLETE})",
    ),
    "reused_from_nothing": (REUSED, f"{TRIALS} reused_from = 1 WHERE number = 3"),
    "contents_cut": (
        COMPLETE,
        f"UPDATE rdsweep_artifacts SET size = size + 1 WHERE {{of}} {COMPLETE})",
    ),
}
OF = "trial_id = (SELECT id FROM rdsweep_trials WHERE number ="


def tamper(database: Database, statement: str) -> None:
    with database.write() as connection:
        connection.execute(text(statement.format(of=OF)))


def test_every_invariant_is_broken_below() -> None:
    assert list(TAMPERINGS) == [invariant.name for invariant in INVARIANTS]


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampering_breaks_the_one_invariant_that_it_is_about(
    database: Database, study: str, name: str
) -> None:
    number, statement = TAMPERINGS[name]
    tamper(database, statement)
    (broken,) = broken_invariants(database, study)
    assert (broken.name, broken.numbers, broken.count) == (name, (number,), 1)


def test_an_epoch_beyond_the_last_one_is_found(database: Database, study: str) -> None:
    tamper(database, f"{TRIALS} epoch = 3 WHERE number = 0")
    assert [each.name for each in broken_invariants(database, study)] == ["epochs_with_gaps"]


@pytest.mark.parametrize(
    ("name", "repair"),
    [
        ("leased_at_rest", drop_idle_leases),
        ("attempt_left_open", close_open_attempts),
        ("told_too_early", forget_early_tells),
    ],
)
def test_what_can_be_mended_is_mended_once(
    database: Database, study: str, name: str, repair: object
) -> None:
    assert callable(repair)
    tamper(database, TAMPERINGS[name][1])
    assert repair(database, study) == 1
    assert broken_invariants(database, study) == []
    assert repair(database, study) == 0


def test_of_many_trials_the_first_are_named_and_all_are_counted(database: Database) -> None:
    study = study_of(database, 30)
    tamper(database, f"{TRIALS} told = true")
    (broken,) = broken_invariants(database, study)
    assert broken.numbers == tuple(range(8))
    assert broken.count == 30


def test_another_studys_trials_are_not_looked_at(database: Database, study: str) -> None:
    tamper(database, TAMPERINGS["told_too_early"][1])
    other = study_of(database, 2, name="other")
    assert broken_invariants(database, other) == []
