"""Questions to the database: trials, and what hangs on them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace

import pytest
from sqlalchemy import Engine, event

from studies.database import Database
from studies.errors import QueryError, StudyNotFound
from studies.fronts import study_front
from studies.leases import release_trial, take_trial
from studies.outcomes import diverge_trial, finish_trial, store_epoch
from studies.queries import (
    COLUMNS,
    DISPLAY_COLUMNS,
    artifacts_of,
    epochs_of,
    last_epochs_of,
    latents_of,
    query_trials,
    trials_by_number,
)
from studies.queue import add_trials
from studies.records import LatentRecord, Lease, TrialRecord
from studies.reuse import evaluation_of
from study_examples import ARTIFACT, EVALUATION, LATENTS, epoch_record, new_trial, study_of


def taken(database: Database, study: str) -> Lease:
    lease = take_trial(database, study, "worker", lease_seconds=60.0, max_attempts=3)
    assert lease is not None
    return lease


def finish(database: Database, study: str, *, rate: float, se: float, nll: float = 60.0) -> None:
    """Give the next trial two epochs and an evaluation."""
    lease = taken(database, study)
    for epoch in (1, 2):
        store_epoch(database, lease, epoch_record(epoch))
    evaluation = replace(
        EVALUATION,
        rate_nats=rate,
        distortion_se=se,
        distortion_nll_nats=nll,
        elbo_nats=-nll - rate,
    )
    finish_trial(database, lease, evaluation, LATENTS, [ARTIFACT])


def study_with_results(database: Database, finished: int, *, name: str = "digits-beta") -> str:
    """A study whose trials are: finished ones with falling rates, a diverged and a queued one."""
    study = study_of(database, finished + 2, name=name)
    for number in range(finished):
        finish(database, study, rate=20.0 - number, se=1.0 + number)
    diverge_trial(database, taken(database, study), "NaN in epoch 1, step 3")
    return study


def numbers(trials: list[TrialRecord]) -> list[int]:
    return [trial.number for trial in trials]


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(engine, "before_cursor_execute", count)
    yield statements
    event.remove(engine, "before_cursor_execute", count)


# --- Trials ---------------------------------------------------------------------------------------


def test_the_columns_are_the_fields_of_a_trial_and_the_displayed_ones_come_first() -> None:
    assert set(COLUMNS) == {field.name for field in fields(TrialRecord)}
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert COLUMNS[: len(DISPLAY_COLUMNS)] == DISPLAY_COLUMNS
    promised = (
        "number, state, beta, raw_weight, latent_dim, reduction, annealing, likelihood, "
        "rate_nats, distortion_se, distortion_nll_nats, elbo_nats, mse, psnr_db, active_units, "
        "collapsed, seconds"
    )
    assert tuple(promised.split(", ")) == DISPLAY_COLUMNS


def test_trials_come_back_as_they_were_stored_in_the_order_of_their_numbers(
    database: Database,
) -> None:
    study = study_with_results(database, 2)
    first, second, diverged, queued = query_trials(database, study)
    assert numbers([first, second, diverged, queued]) == [0, 1, 2, 3]
    expected = new_trial(0)
    assert all(getattr(first, f.name) == getattr(expected, f.name) for f in fields(expected))
    assert (first.study, first.state, first.rate_nats, first.seconds) == (study, "complete", 20, 4)
    assert first.collapsed is False
    assert (diverged.state, diverged.rate_nats) == ("diverged", None)
    assert diverged.error == "NaN in epoch 1, step 3"
    assert (queued.state, queued.worker, queued.collapsed) == ("queued", None, None)
    assert second.rate_nats == 19.0


def test_a_filter_chooses_trials_of_this_study_only(database: Database) -> None:
    study_with_results(database, 2, name="another")
    study = study_with_results(database, 3)
    assert numbers(query_trials(database, study, where="rate_nats < 20")) == [1, 2]
    assert numbers(query_trials(database, study, where="rate_nats is null")) == [3, 4]
    assert numbers(query_trials(database, study, where="state in ('diverged', 'queued')")) == [
        3,
        4,
    ]
    assert numbers(query_trials(database, study, where="not collapsed and beta > 1")) == [1, 2]
    assert query_trials(database, study, where="study = 'another'") == []


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("rate_nats", [2, 1, 0, 3, 4]),
        ("-rate_nats", [0, 1, 2, 3, 4]),
        ("state,-number", [2, 1, 0, 3, 4]),
        (" collapsed , -beta ", [2, 1, 0, 4, 3]),
        ("latent_dim", [0, 1, 2, 3, 4]),
        ("", [0, 1, 2, 3, 4]),
    ],
)
def test_an_ordering_puts_missing_values_last_and_breaks_ties_by_number(
    database: Database, order_by: str, expected: list[int]
) -> None:
    study = study_with_results(database, 3)
    assert numbers(query_trials(database, study, order_by=order_by)) == expected


def test_a_limit_cuts_after_the_ordering(database: Database) -> None:
    study = study_with_results(database, 3)
    assert numbers(query_trials(database, study, order_by="-distortion_se", limit=2)) == [2, 1]
    assert query_trials(database, study, limit=0) == []


def test_trials_can_be_fetched_by_number_also_by_very_many(database: Database) -> None:
    study = study_with_results(database, 3)
    assert list(trials_by_number(database, study, [3, 1, 99])) == [1, 3]
    assert list(trials_by_number(database, study, range(1, 100_000))) == [1, 2, 3, 4]
    assert list(trials_by_number(database, study, range(0, 100_000, 2))) == [0, 2, 4]
    assert trials_by_number(database, study, []) == {}


def without_beta(database: Database) -> str:
    """A study whose second trial has a regulariser that reads no beta; the first is complete."""
    study = study_of(database, 1)
    settings = {"regulariser": "wae_mmd", "prior": "mixture", "posterior": "full"}
    no_beta = dict.fromkeys(("beta", "raw_weight", "beta_norm", "weights"))
    add_trials(database, study, [new_trial(1, **settings, **no_beta), new_trial(2)])
    finish(database, study, rate=10.0, se=1.0)
    return study


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("beta is null", [1]),
        ("beta < 100", [0, 2]),
        ("not beta < 1", [2]),
        ("beta < 1 or regulariser = 'wae_mmd'", [0, 1]),
        ("prior in ('mixture', 'vamp') and posterior = 'full'", [1]),
        ("collapse = 'partial' and collapse_epoch is null", [0]),
        ("train_rate_nats - rate_nats > 0.5", [0]),
        ("-iwae_nats < distortion_nll_nats + rate_nats", [0]),
        ("iwae_samples >= 64 and mig is null", [0]),
        ("reused_from is null and equivalence is null", [0, 1, 2]),
    ],
)
def test_filters_know_the_objective_and_the_diagnostics(
    database: Database, where: str, expected: list[int]
) -> None:
    assert numbers(query_trials(database, without_beta(database), where=where)) == expected


def test_trials_without_beta_come_last_when_ordered_by_it(database: Database) -> None:
    study = without_beta(database)
    assert numbers(query_trials(database, study, order_by="beta")) == [0, 2, 1]
    assert numbers(query_trials(database, study, order_by="-beta")) == [2, 0, 1]


def test_diagnostics_come_back_as_they_were_stored(database: Database) -> None:
    complete, no_beta, _ = query_trials(database, without_beta(database))
    assert evaluation_of(complete) == replace(
        EVALUATION, rate_nats=10.0, distortion_se=1.0, elbo_nats=-70.0
    )
    assert complete.notes == EVALUATION.notes
    assert complete.weights == {"sum": 0.5, "latent_mean": 2.0}
    assert (no_beta.beta, no_beta.weights, no_beta.notes) == (None, None, ())


def test_questions_that_make_no_sense_are_refused(database: Database) -> None:
    study = study_of(database, 1)
    with pytest.raises(QueryError, match="got 'betta'; did you mean 'beta'"):
        query_trials(database, study, order_by="-betta")
    with pytest.raises(QueryError, match="order to order by it, but config is a document"):
        query_trials(database, study, order_by="config")
    with pytest.raises(QueryError, match="config is a document, which no filter can compare"):
        query_trials(database, study, where="config = 'a'")
    with pytest.raises(QueryError, match="notes is a document, which no filter can compare"):
        query_trials(database, study, where="notes is null")
    with pytest.raises(QueryError, match="order to order by it, but weights is a document"):
        query_trials(database, study, order_by="weights")
    with pytest.raises(QueryError, match=r"`limit >= 0` must hold, but got limit=-1"):
        query_trials(database, study, limit=-1)


@pytest.mark.parametrize("ask", [query_trials, epochs_of, last_epochs_of, latents_of, study_front])
def test_a_study_that_does_not_exist_is_named_with_its_nearest_neighbour(
    database: Database, ask: Callable[[Database, str], object]
) -> None:
    study_of(database, 1)
    with pytest.raises(StudyNotFound, match="got 'digits-betta'; did you mean 'digits-beta'"):
        ask(database, "digits-betta")


# --- What hangs on trials -------------------------------------------------------------------------


def test_epochs_latents_and_artifacts_come_by_trial(database: Database) -> None:
    study_with_results(database, 3, name="another")
    study = study_with_results(database, 2)
    assert epochs_of(database, study) == dict.fromkeys((0, 1), (epoch_record(1), epoch_record(2)))
    assert latents_of(database, study) == dict.fromkeys((0, 1), LATENTS)
    assert artifacts_of(database, study, "reconstructions") == dict.fromkeys((0, 1), ARTIFACT)
    assert artifacts_of(database, study, "checkpoint") == {}


def test_some_trials_can_be_asked_for_and_those_without_anything_are_left_out(
    database: Database,
) -> None:
    study = study_with_results(database, 3)
    assert list(epochs_of(database, study, [4, 2, 0])) == [0, 2]
    assert list(latents_of(database, study, {1})) == [1]
    assert list(artifacts_of(database, study, "reconstructions", range(1, 50_000))) == [1, 2]
    assert epochs_of(database, study, []) == {}


def test_the_last_epoch_of_a_trial_is_the_one_it_stands_at(database: Database) -> None:
    """Also after a second attempt that began at an earlier checkpoint than the first one left."""
    study = study_of(database, 3)
    first = taken(database, study)
    for epoch in (1, 2, 3):
        store_epoch(database, first, epoch_record(epoch))
    release_trial(database, first, "Ctrl-C")
    store_epoch(database, taken(database, study), epoch_record(2, seconds=7.0))
    store_epoch(database, taken(database, study), epoch_record(1))
    expected = {0: epoch_record(2, seconds=7.0), 1: epoch_record(1)}
    assert last_epochs_of(database, study) == expected
    assert {
        number: epochs[-1] for number, epochs in epochs_of(database, study).items()
    } == expected
    assert list(last_epochs_of(database, study, [1, 2])) == [1]


def test_latents_come_in_the_order_of_their_index(database: Database) -> None:
    study = study_of(database, 1)
    backwards = [
        LatentRecord(latent=index, kl_nats=0.0, mean_variance=0.0, active=False)
        for index in (11, 2, 10, 0)
    ]
    finish_trial(database, taken(database, study), EVALUATION, backwards, [])
    assert [latent.latent for latent in latents_of(database, study)[0]] == [0, 2, 10, 11]


def test_twice_the_trials_take_the_same_number_of_statements(database: Database) -> None:
    questions: list[Callable[[str], object]] = [
        lambda study: query_trials(database, study, where="beta > 0", order_by="-beta"),
        lambda study: trials_by_number(database, study, range(100)),
        lambda study: epochs_of(database, study),
        lambda study: last_epochs_of(database, study),
        lambda study: latents_of(database, study, range(100)),
        lambda study: artifacts_of(database, study, "reconstructions"),
        lambda study: study_front(database, study),
    ]
    few = study_with_results(database, 3, name="few")
    many = study_with_results(database, 6, name="many")
    for ask in questions:
        with counted(database.engine) as for_few:
            ask(few)
        with counted(database.engine) as for_many:
            ask(many)
        assert len(for_many) == len(for_few) <= 8


# --- The front of a study -------------------------------------------------------------------------


def test_the_front_of_a_study_holds_its_best_complete_trials_by_ascending_rate(
    database: Database,
) -> None:
    study = study_of(database, 6, rate_reference_nats=12.0, distortion_reference=8.0)
    for rate, se in [(10.0, 1.0), (4.0, 4.0), (5.0, 4.0), (4.0, 4.0), (2.0, 9.0)]:
        finish(database, study, rate=rate, se=se)
    front = study_front(database, study)
    assert numbers(list(front.trials)) == [4, 1, 3, 0]
    assert front.points == [(2.0, 9.0), (4.0, 4.0), (4.0, 4.0), (10.0, 1.0)]
    assert (front.distortion, front.complete) == ("se", 5)
    assert (front.rate_reference_nats, front.distortion_reference) == (12.0, 8.0)
    assert front.hypervolume == 6 * 4 + 2 * 7


def test_whole_records_are_read_of_the_front_alone(database: Database) -> None:
    """Of the others two numbers: with 20,000 trials a record each takes half a second."""
    study = study_with_results(database, 4)
    finish(database, study, rate=1.0, se=0.1)  # beats them all
    with counted(database.engine) as statements:
        front = study_front(database, study)
    assert numbers(list(front.trials)) == [5]
    (whole,) = [each for each in statements if "config" in each]
    assert "rdsweep_trials.number IN (" in whole


def test_the_front_uses_the_distortion_that_the_study_chose(database: Database) -> None:
    study = study_of(database, 2, distortion="nll")
    finish(database, study, rate=10.0, se=1.0, nll=90.0)
    finish(database, study, rate=9.0, se=2.0, nll=80.0)
    front = study_front(database, study)
    assert front.distortion == "nll"
    assert front.points == [(9.0, 80.0)]


def test_a_study_without_complete_trials_has_an_empty_front(database: Database) -> None:
    front = study_front(database, study_with_results(database, 0))
    assert (front.trials, front.points, front.complete, front.hypervolume) == ((), [], 0, 0.0)


def test_nlls_of_densities_and_of_probabilities_have_no_common_front(database: Database) -> None:
    study = study_of(database, 0, distortion="nll")
    likelihoods = ["gaussian", "gaussian_learned", "bernoulli"]
    trials = [new_trial(n, likelihood=name) for n, name in enumerate(likelihoods)]
    add_trials(database, study, trials)
    finish(database, study, rate=10.0, se=1.0)
    finish(database, study, rate=9.0, se=1.0)
    assert len(study_front(database, study).trials) == 1
    finish(database, study, rate=8.0, se=1.0)
    with pytest.raises(QueryError, match="got bernoulli and gaussian and gaussian_learned"):
        study_front(database, study)
