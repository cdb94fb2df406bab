"""Trials that train together end one by one: what befalls one of them does not touch the others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
import torch

from attempts import EVALUATION, trial_config
from studies.attempts import attempts_of
from studies.database import Database, open_database, prepare_schema
from studies.leases import extend_lease, take_trial
from studies.queries import epochs_of, query_trials
from studies.queue import add_trials
from studies.records import TrialRecord
from studies.study_records import create_study
from studies.workers import register_worker
from study_examples import STUDY, new_trial
from sweeps.artifact_store import ArtifactStore, StoreError
from sweeps.attempt import Attempt
from sweeps.directory_store import DirectoryStore
from sweeps.errors import SweepError
from sweeps.heartbeat import Heartbeat
from sweeps.pack import Pack
from sweeps.stopping import StopRequest
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.results import Diverged, EpochResult
from vae_models.trainer import Trainer
from watched_store import Watched

CULPRIT = 3
"""The seed of a trial that breaks the training of all that are in its pack."""


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


@dataclass
class Scene:
    """A study of trials whose numbers are their seeds, and one worker's pack."""

    db: Database
    store: ArtifactStore
    data: DataSet
    stop: StopRequest = field(default_factory=StopRequest)
    sizes: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, data: DataSet, epochs: list[int], **train: Any) -> Self:
        """Trials with so many epochs."""
        db = open_database(f"sqlite:///{folder / 'pack.db'}")
        prepare_schema(db)
        create_study(db, STUDY)
        configs = [
            trial_config(count, train={"seed": seed, **train}) for seed, count in enumerate(epochs)
        ]
        trials = [new_trial(n, config=config.to_dict()) for n, config in enumerate(configs)]
        add_trials(db, STUDY.name, trials)
        store = DirectoryStore(folder / "files")
        store.create()
        return cls(db, store, data)

    def pack(self, size: int, worker: str = "w") -> Pack:
        """An empty pack of a worker, which says when it gets smaller."""
        register_worker(
            self.db,
            STUDY.name,
            worker,
            host="here",
            pid=1,
            process_started_at=0.0,
            device="cpu",
            versions={},
        )
        heartbeat = Heartbeat(self.db, worker, 60.0, self.stop.order)

        def trainer(slots: int) -> Trainer:
            return Trainer([], self.data, slots=slots)

        return Pack(size, trainer, heartbeat, self.stop, "cpu", on_smaller=self.sizes.append)

    def attempt(self, worker: str = "w") -> Attempt:
        """An attempt at the next trial."""
        lease = take_trial(self.db, STUDY.name, worker, lease_seconds=600.0, max_attempts=3)
        assert lease is not None
        return Attempt(
            db=self.db,
            lease=lease,
            store=self.store,
            data=self.data,
            stop=self.stop,
            lease_seconds=600.0,
            evaluation=EVALUATION,
            patience_seconds=0.1,
        )

    def filled(self, size: int) -> Pack:
        """A pack with as many of the next trials."""
        pack = self.pack(size)
        for _ in range(size):
            pack.begin(self.attempt())
        return pack

    @property
    def trials(self) -> list[TrialRecord]:
        return query_trials(self.db, STUDY.name, order_by="number")

    @property
    def states(self) -> list[tuple[str, int]]:
        """State and last epoch of each trial."""
        return [(trial.state, trial.epoch) for trial in self.trials]

    def ends(self, number: int) -> list[tuple[str | None, str | None]]:
        """How each attempt at a trial ended, and why."""
        found = attempts_of(self.db, STUDY.name, [number])[number]
        return [(attempt.outcome, attempt.reason) for attempt in found]

    def checkpoints(self) -> list[str]:
        return [file.key.rpartition("/")[2] for file in self.store.keys(STUDY.name)]


def test_a_trial_that_has_ended_gives_its_slot_to_another_while_the_rest_trains_on(
    tmp_path: Path, digits: DataSet
) -> None:
    scene = Scene.of(tmp_path, digits, [1, 3, 2])
    pack = scene.filled(2)
    assert pack.room == 0
    pack.train_epoch()
    assert (len(pack), pack.room) == (1, 1)
    assert scene.states == [("complete", 1), ("running", 1), ("queued", 0)]
    pack.begin(scene.attempt())
    pack.train_epoch()
    pack.train_epoch()
    assert len(pack) == 0
    assert scene.states == [("complete", 1), ("complete", 3), ("complete", 2)]


def test_a_trial_that_is_trained_already_is_only_measured(tmp_path: Path, digits: DataSet) -> None:
    scene = Scene.of(tmp_path, digits, [2, 2])
    scene.stop.order("now")
    pack = scene.filled(2)
    pack.train_epoch()
    scene.stop.order(None)
    pack = scene.filled(2)
    scene.stop.order("now")
    pack.train_epoch()
    assert scene.states == [("complete", 2), ("queued", 2)]
    assert [end for end, _ in scene.ends(1)] == ["released", "released"]
    scene.stop.order(None)
    scene.filled(1).train_epoch()
    assert scene.states == [("complete", 2)] * 2
    assert [epoch.epoch for epoch in epochs_of(scene.db, STUDY.name)[1]] == [1, 2]


def test_a_stop_lets_all_go_at_the_end_of_the_epoch_each_with_a_checkpoint(
    tmp_path: Path, digits: DataSet
) -> None:
    scene = Scene.of(tmp_path, digits, [5, 5, 5])
    pack = scene.filled(3)
    pack.train_epoch()
    scene.stop.order("now")
    pack.train_epoch()
    assert len(pack) == 0
    assert scene.states == [("queued", 2)] * 3
    assert scene.checkpoints() == ["checkpoint-000002-001.safetensors"] * 3
    assert scene.ends(2) == [("released", "ordered to stop now")]


def test_an_order_to_drain_finishes_what_is_in_hand(tmp_path: Path, digits: DataSet) -> None:
    scene = Scene.of(tmp_path, digits, [1, 2])
    pack = scene.filled(2)
    scene.stop.order("drain")
    while len(pack):
        pack.train_epoch()
    assert scene.states == [("complete", 1), ("complete", 2)]


def test_a_lost_lease_costs_one_slot_only(
    tmp_path: Path, digits: DataSet, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene.of(tmp_path, digits, [3, 3])
    pack = scene.pack(2)
    lost, kept = scene.attempt(), scene.attempt()
    for attempt in (lost, kept):
        pack.begin(attempt)
    pack.train_epoch()
    extend_lease(scene.db, lost.lease, -1.0)
    other = scene.attempt("other")
    assert other.lease.number == 0
    pack.train_epoch()
    assert len(pack) == 1
    assert "lost attempt 1 at trial 0" in caplog.text
    pack.train_epoch()
    assert scene.states == [("running", 1), ("complete", 3)]


@pytest.mark.parametrize("method", ["begin", "finish"])
def test_a_trial_that_fails_by_itself_fails_alone(
    tmp_path: Path, digits: DataSet, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    proper = getattr(Attempt, method)

    def broken(attempt: Attempt, *arguments: Any) -> None:
        if attempt.lease.number == 1:
            raise ValueError("a fault of ours")
        proper(attempt, *arguments)

    monkeypatch.setattr(Attempt, method, broken)
    scene = Scene.of(tmp_path, digits, [1, 1, 1])
    scene.filled(3).train_epoch()
    assert [state for state, _ in scene.states] == ["complete", "failed", "complete"]
    assert "ValueError: a fault of ours" in str(scene.trials[1].error)


def test_a_trial_that_does_not_fit_the_data_fails_alone(tmp_path: Path, digits: DataSet) -> None:
    scene = Scene.of(tmp_path, digits, [1])
    config = trial_config(1, model={"likelihood": "bernoulli"}).to_dict()
    add_trials(scene.db, STUDY.name, [new_trial(1, config=config)])
    scene.data = load_data(DataConfig(name="gaussian", spectrum=(1.0, 0.5), train_size=600))
    pack = scene.filled(2)
    assert len(pack) == 1
    pack.train_epoch()
    assert [state for state, _ in scene.states] == ["complete", "failed"]


def test_a_store_that_takes_no_model_releases_that_trial_and_says_so(
    tmp_path: Path, digits: DataSet
) -> None:
    def refuse(key: str) -> None:
        if "model" in key:
            raise StoreError("The disk must have room, but it is full.")

    scene = Scene.of(tmp_path, digits, [1, 2])
    scene.store = Watched(scene.store, before=refuse)
    pack = scene.filled(2)
    with pytest.raises(StoreError, match=r"it is full\. Trial 0 can be continued"):
        pack.train_epoch()
    assert len(pack) == 1
    pack.release("the store is gone")
    assert scene.states == [("queued", 1), ("queued", 1)]
    assert scene.ends(1) == [("released", "the store is gone")]


def _breaking(error: Exception) -> Any:
    """A training that breaks as soon as the culprit is in it."""
    proper = Trainer.train_epoch

    def train_epoch(trainer: Trainer) -> Iterator[EpochResult | Diverged]:
        for result in proper(trainer):
            if trainer.checkpoint(result.slot).config["train"]["seed"] == CULPRIT:
                raise error
            yield result

    return train_epoch


def _work_off(scene: Scene, pack: Pack) -> None:
    """Trains all trials that are left."""
    while True:
        waiting = sum(trial.state == "queued" for trial in scene.trials)
        for _ in range(min(pack.room, waiting)):
            if pack.room:
                pack.begin(scene.attempt())
        if not len(pack) and not waiting:
            return
        pack.train_epoch()


def test_a_pack_whose_training_breaks_is_tried_again_one_by_one_and_the_culprit_fails(
    tmp_path: Path,
    digits: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Trainer, "train_epoch", _breaking(ValueError("no such kernel")))
    scene = Scene.of(tmp_path, digits, [2] * 5)
    pack = scene.filled(4)
    pack.train_epoch()
    assert (len(pack), pack.size, scene.sizes) == (0, 1, [1])
    assert [state for state, _ in scene.states] == ["queued"] * 5
    assert scene.ends(0) == [("released", "its pack of 4 failed: no such kernel")]
    assert "a pack of 4 failed, going on with 1: no such kernel" in caplog.text
    _work_off(scene, pack)
    wanted = ["complete"] * 3 + ["failed", "complete"]
    assert [state for state, _ in scene.states] == wanted
    assert "ValueError: no such kernel" in str(scene.trials[CULPRIT].error)


def test_a_full_device_halves_the_pack_until_it_is_one_trial(
    tmp_path: Path, digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(Trainer, "train_epoch", _breaking(error))
    scene = Scene.of(tmp_path, digits, [2] * 5)
    pack = scene.filled(4)
    _work_off(scene, pack)
    assert scene.sizes == [2, 1]
    wanted = ["complete"] * 3 + ["failed", "complete"]
    assert [state for state, _ in scene.states] == wanted
    assert [end for end, _ in scene.ends(CULPRIT)] == ["released", "released", "failed"]


@pytest.mark.parametrize("method", ["begin", "finish"])
def test_a_device_that_is_full_beside_the_training_also_halves_the_pack(
    tmp_path: Path, digits: DataSet, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    proper = getattr(Attempt, method)
    left = [1]

    def broken(attempt: Attempt, *arguments: Any) -> None:
        if attempt.lease.number == 1 and left:
            left.clear()
            raise torch.OutOfMemoryError("CUDA out of memory")
        proper(attempt, *arguments)

    monkeypatch.setattr(Attempt, method, broken)
    scene = Scene.of(tmp_path, digits, [1, 1, 1])
    _work_off(scene, scene.pack(2))
    assert scene.sizes == [1]
    assert scene.states == [("complete", 1)] * 3
    assert scene.ends(1) == [
        ("released", "its pack of 2 failed: CUDA out of memory"),
        ("complete", None),
    ]


def test_a_broken_device_ends_the_worker_and_costs_each_trial_an_attempt(
    tmp_path: Path, digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process ends with the leases in hand: none knows which trial broke the device."""

    def dead(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    scene = Scene.of(tmp_path, digits, [2] * 4)
    pack = scene.filled(4)
    monkeypatch.setattr(Trainer, "train_epoch", _breaking(RuntimeError("CUDA error")))
    monkeypatch.setattr("sweeps.pack.torch.zeros", dead)
    with pytest.raises(SweepError, match="The device must answer after a pack of 4 trials, but"):
        pack.train_epoch()
    assert [state for state, _ in scene.states] == ["running"] * 4


def test_checkpoints_of_a_pack_are_not_all_due_at_once(
    tmp_path: Path, digits: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("sweeps.attempt.time.monotonic", lambda: now[0])
    scene = Scene.of(tmp_path, digits, [50, 50, 50, 50])
    pack = scene.filled(4)
    written = []
    for _ in range(10):
        now[0] += 1.01
        pack.train_epoch()
        written.append(len(scene.checkpoints()))
    assert written == sorted(written)
    assert len(set(written)) == 5


def test_what_a_lost_attempt_wrote_last_is_not_written_over(
    tmp_path: Path, digits: DataSet
) -> None:
    """The same worker takes the trial over that it has lost, while it still trains it."""
    scene = Scene.of(tmp_path, digits, [2])
    pack = scene.pack(2)
    first = scene.attempt()
    pack.begin(first)
    extend_lease(scene.db, first.lease, -1.0)
    second = scene.attempt()
    assert second.lease.number == 0
    pack.begin(second)
    pack.train_epoch()
    pack.train_epoch()
    assert scene.states == [("complete", 2)]
    assert [end for end, _ in scene.ends(0)] == ["lost", "complete"]
