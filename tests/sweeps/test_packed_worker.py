"""Workers that train several trials at a time: the numbers of lone trials, and nothing is lost."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agreement import check_finished, check_rows
from rdsweep_command import PATIENCE_SECONDS, Rdsweep
from studies.attempts import AttemptRecord, attempts_of
from studies.database import Database, open_database
from studies.launchers import register_launcher
from studies.leases import take_trial
from studies.queries import epochs_of, query_trials
from studies.queue import add_trials
from studies.records import StudyRecord, TrialRecord
from studies.study_records import get_study
from studies.workers import list_workers, register_worker
from study_examples import new_trial, study_of
from sweeps.circumstances import circumstances_of
from sweeps.fair_share import fair_share
from sweeps.reproduce import prepare_reproduction
from sweeps.spec import load_spec
from sweeps.study_setup import prepare_study

Eventually = Callable[[Callable[[], object]], None]

SPEC = """
[study]
name = "small"
trials = 7
sampler = "grid"
[data]
name = "digits"
[model]
hidden = [8]
latent_dim = 2
[train]
batch_size = 256
[objective]
beta = 0.1
[evaluation]
iwae_samples = 2
diagnostic_examples = 50
[run]
lease_seconds = {lease}
checkpoint_seconds = 0
pack = {pack}
precision = "float32"
[space]
epochs = {epochs}
"""
EPOCHS = [30, 60, 90, 120, 150, 180, 210]
LONG = [1001, 1002, 1003, 1004, 1005, 1006, 1007]


def prepared(
    rdsweep: Rdsweep, *, pack: int, epochs: list[int] = EPOCHS, lease: float = 30.0
) -> Database:
    """A study whose trials nobody has begun."""
    rdsweep.folder.mkdir(exist_ok=True)
    spec = rdsweep.folder / "small.toml"
    spec.write_text(SPEC.format(pack=pack, epochs=epochs, lease=lease))
    db = open_database(rdsweep.url)
    prepare_study(load_spec(spec), db)
    return db


def work(rdsweep: Rdsweep, name: str = "w", status: int = 0) -> str:
    """A worker from its start to its end; what it said."""
    done = rdsweep("worker", "small", "--device", "cpu", "--worker-id", name, status=status)
    return done.stderr


def start(rdsweep: Rdsweep, name: str) -> Any:
    return rdsweep.start("worker", "small", "--device", "cpu", "--worker-id", name)


def in_training(db: Database, worker: str, epoch: int = 1) -> list[TrialRecord]:
    where = f"state = 'running' and epoch >= {epoch}"
    return [trial for trial in query_trials(db, "small", where=where) if trial.worker == worker]


def attempts(db: Database) -> list[AttemptRecord]:
    numbers = [trial.number for trial in query_trials(db, "small")]
    found = attempts_of(db, "small", numbers)
    return [attempt for number in numbers for attempt in found.get(number, ())]


def results(db: Database) -> dict[int, list[float | None]]:
    """What each trial gave, by its number of epochs: after each of them, and in the end."""
    epochs = epochs_of(db, "small")
    return {
        trial.epochs: [
            *(epoch.objective for epoch in epochs[trial.number]),
            *(trial.rate_nats, trial.distortion_se, trial.distortion_nll_nats),
        ]
        for trial in query_trials(db, "small")
    }


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Rdsweep:
    """A study that one worker has trained in packs of three."""
    rdsweep = Rdsweep(tmp_path_factory.mktemp("packed"))
    db = prepared(rdsweep, pack=3)
    work(rdsweep)
    db.close()
    return rdsweep


@pytest.fixture
def db(packed: Rdsweep) -> Database:
    return open_database(packed.url)


def test_a_pack_gives_what_lone_trials_give(packed: Rdsweep, db: Database, tmp_path: Path) -> None:
    check_finished(db, "small", 7)
    check_rows(db, "small")
    lone = Rdsweep(tmp_path)
    with_one = prepared(lone, pack=1)
    work(lone)
    found, wanted = results(db), results(with_one)
    assert found.keys() == wanted.keys() == set(EPOCHS)
    for epochs in EPOCHS:  # a pack rounds otherwise, but not otherwise than another pack (below)
        assert found[epochs] == pytest.approx(wanted[epochs], rel=0.02), epochs


def test_a_slot_is_filled_again_while_the_others_train_on(db: Database) -> None:
    tried = sorted(attempts(db), key=lambda attempt: attempt.started_at)
    assert [attempt.outcome for attempt in tried] == ["complete"] * 7
    first, later = tried[:3], tried[3:]
    ends = [attempt.ended_at or 0.0 for attempt in first]
    assert min(ends) <= later[0].started_at < max(ends)
    beside = [
        sum(other.started_at <= one.started_at < (other.ended_at or 0.0) for other in tried)
        for one in tried
    ]
    assert max(beside) == 3


def _number(db: Database, epochs: int) -> int:
    (trial,) = query_trials(db, "small", where=f"epochs = {epochs}")
    return trial.number


def test_the_worker_says_that_it_trained_packs(db: Database) -> None:
    (worker,) = list_workers(db, "small")
    assert (worker.versions["pack"], worker.versions["slots"]) == ("packed", 3)
    assert worker.versions["precision"] in ("float32", "bfloat16")


def test_a_trial_of_a_pack_is_trained_again_as_in_a_pack(db: Database) -> None:
    found = prepare_reproduction(db, "small", _number(db, epochs=30))
    assert found.circumstances.packed
    assert found.circumstances.exact
    for _ in found.rerun:
        pass
    assert found.agreement.bit_for_bit


def test_a_trial_that_was_trained_in_both_ways_is_not_expected_to_be_equal(db: Database) -> None:
    (worker,) = list_workers(db, "small")
    record: StudyRecord = get_study(db, "small")
    lone = replace(worker, versions={**worker.versions, "pack": "lone", "precision": "float32"})
    old = {k: v for k, v in lone.versions.items() if k not in ("pack", "precision", "slots")}
    before = replace(worker, versions=old)
    assert circumstances_of(record, [before, lone], "cpu", 1).exact
    packed = replace(lone, versions={**lone.versions, "pack": "packed"})
    found = circumstances_of(record, [before, packed], "cpu", 1)
    assert found.differences == ["pack was lone, and now is packed"]
    half = replace(lone, versions={**lone.versions, "precision": "bfloat16"})
    found = circumstances_of(record, [before, half], "cpu", 1)
    assert found.differences == ["precision was float32, and now is bfloat16"]
    assert found.precision == "bfloat16"


def test_a_packed_worker_that_is_killed_leaves_all_its_trials_to_another(
    rdsweep: Rdsweep, eventually: Eventually
) -> None:
    epochs = [150, 151, 152, 3, 4, 5, 6]
    db = prepared(rdsweep, pack=3, epochs=epochs, lease=2.0)
    process = start(rdsweep, "killed")
    eventually(lambda: len(in_training(db, "killed", epoch=2)) == 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = {trial.number for trial in query_trials(db, "small", where="state = 'running'")}
    assert len(left) == 3
    work(rdsweep, "heir")
    check_finished(db, "small", 7)
    check_rows(db, "small")
    lost = [attempt for attempt in attempts(db) if attempt.outcome == "lost"]
    assert {attempt.number for attempt in lost} == left
    assert {attempt.worker for attempt in lost} == {"killed"}
    taken_over = [a for a in attempts(db) if a.number in left and a.attempt == 2]
    assert [(a.worker, a.outcome) for a in taken_over] == [("heir", "complete")] * 3
    trained = epochs_of(db, "small")
    for number in left:
        assert [epoch.epoch for epoch in trained[number]] == list(
            range(1, len(trained[number]) + 1)
        )


def test_a_packed_worker_that_is_asked_to_stop_releases_all_its_trials_with_checkpoints(
    rdsweep: Rdsweep, eventually: Eventually
) -> None:
    db = prepared(rdsweep, pack=3, epochs=LONG)
    process = start(rdsweep, "asked")
    eventually(lambda: len(in_training(db, "asked", epoch=2)) == 3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_SECONDS) == 75
    released = [a for a in attempts(db) if a.outcome == "released"]
    assert [a.reason for a in released] == ["asked to stop (SIGTERM)"] * 3
    trials = {t.number: t for t in query_trials(db, "small") if t.epoch > 0}
    assert {trial.state for trial in trials.values()} == {"queued"}
    for trial in trials.values():
        name = f"*/{trial.number:05d}-*/checkpoint-{trial.epoch:06d}-001.safetensors"
        assert len(list((rdsweep.folder / "rdsweep.db-files").glob(name))) == 1
    reached = {number: trial.epoch for number, trial in trials.items()}
    process = start(rdsweep, "second")
    eventually(lambda: len(in_training(db, "second", epoch=min(reached.values()) + 2)) == 3)
    assert {trial.number for trial in in_training(db, "second")} == set(reached)
    said = rdsweep("status", "small").stdout
    assert "3 trials in hand" in said
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_SECONDS) == 75
    by = {
        number: [epoch.epoch for epoch in epochs]
        for number, epochs in epochs_of(db, "small").items()
    }
    assert all(by[number] == list(range(1, len(by[number]) + 1)) for number in reached)


class TestTheFairShare:
    """What is left is shared out among the workers that live or are just being started."""

    def _register(self, db: Database, study: str, *names: str) -> None:
        for name in names:
            register_worker(
                db,
                study,
                name,
                host="here",
                pid=1,
                process_started_at=0.0,
                device="cpu",
                versions={},
            )

    @pytest.fixture
    def study(self, rdsweep: Rdsweep) -> tuple[Database, str]:
        from studies.database import prepare_schema

        db = open_database(rdsweep.url)
        prepare_schema(db)
        return db, study_of(db, 2, trials_wanted=7)

    def test_of_one_worker_is_all(self, study: tuple[Database, str]) -> None:
        db, name = study
        self._register(db, name, "anna")
        assert fair_share(db, name, 60.0) == 7

    def test_of_several_is_rounded_up(self, study: tuple[Database, str]) -> None:
        db, name = study
        self._register(db, name, "anna", "bert", "carl")
        assert fair_share(db, name, 60.0) == 3

    def test_counts_what_is_begun_and_more_than_is_wanted(
        self, study: tuple[Database, str]
    ) -> None:
        db, name = study
        self._register(db, name, "anna", "bert")
        add_trials(db, name, [new_trial(number) for number in range(2, 10)])
        take_trial(db, name, "anna", lease_seconds=60.0, max_attempts=3)
        assert fair_share(db, name, 60.0) == 5

    def test_counts_workers_that_a_new_launcher_is_about_to_start(
        self, study: tuple[Database, str]
    ) -> None:
        db, name = study
        self._register(db, name, "anna")
        register_launcher(
            db,
            name,
            "launcher",
            kind="local",
            host="here",
            pid=1,
            process_started_at=0.0,
            workers_wanted=4,
        )
        assert fair_share(db, name, 60.0) == 2
        assert fair_share(db, name, 0.0) == 7
