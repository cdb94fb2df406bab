"""A store that takes no file stops no training: the attempt says so, waits at the end, or leaves."""

from pathlib import Path
from typing import Any

import pytest

from attempts import LoneAttempt, Outcome, Scene, trial_config
from sweeps.artifact_store import StoreError, StoreFull
from sweeps.stopping import StopRequest
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from watched_store import Watched

CONFIG = trial_config(4)


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, digits: DataSet) -> Outcome:
    scene = Scene.of(tmp_path_factory.mktemp("undisturbed"), digits, CONFIG)
    scene.attempt().run()
    return scene.outcome()


@pytest.fixture
def scene(tmp_path: Path, digits: DataSet) -> Scene:
    return Scene.of(tmp_path, digits, CONFIG)


class Trouble:
    """Refuses the first writes of a kind of file, and notes what the attempt says meanwhile."""

    def __init__(self, scene: Scene, kind: str, times: int) -> None:
        self.store = Watched(scene.store, before=self._refuse)
        self.attempt: LoneAttempt | None = None
        self.notes: list[str | None] = []
        self._kind, self._left = kind, times

    def _refuse(self, key: str) -> None:
        assert self.attempt is not None
        self.notes.append(self.attempt.note)
        if self._kind in key and self._left > 0:
            self._left -= 1
            message = "The disk must have room, but it is full."
            raise StoreFull(message)


def _attempt(scene: Scene, trouble: Trouble, **settings: Any) -> LoneAttempt:
    trouble.attempt = scene.attempt(store=trouble.store, checkpoint_seconds=0.0, **settings)
    return trouble.attempt


SAID = "trial 0: The disk must have room, but it is full."


def test_a_checkpoint_that_cannot_be_written_stops_nothing_and_is_said_once(
    scene: Scene,
    undisturbed: Outcome,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble = Trouble(scene, "checkpoint", 2)
    attempt = _attempt(scene, trouble)
    attempt.run()
    assert trouble.notes == [None, SAID, SAID, None, None]
    assert attempt.note is None
    assert caplog.text.count("must have room") == 1
    assert scene.outcome() == undisturbed


def test_the_trained_model_waits_until_the_store_takes_it(
    scene: Scene, undisturbed: Outcome
) -> None:
    trouble = Trouble(scene, "model", 3)
    attempt = _attempt(scene, trouble)
    attempt.run()
    assert trouble.notes[-2:] == [SAID, SAID]
    assert attempt.note is None
    assert scene.names == ["model-001.safetensors"]
    assert scene.outcome() == undisturbed


def test_a_trial_whose_model_is_never_taken_is_released_with_the_reason_and_goes_on_later(
    scene: Scene, undisturbed: Outcome
) -> None:
    trouble = Trouble(scene, "model", 1000)
    attempt = _attempt(scene, trouble, patience_seconds=0.1)
    with pytest.raises(StoreError, match=r"it is full\. Trial 0 can be continued once that is"):
        attempt.run()
    assert scene.trial.state == "queued"
    assert scene.deaths() == 0
    reason = "The disk must have room, but it is full."
    assert scene.history() == [(1, "released", reason)]
    scene.attempt().run()
    assert scene.trained_by()[4] == 1
    assert scene.outcome() == undisturbed


def test_a_stop_that_is_asked_for_while_the_model_waits_releases_the_trial(scene: Scene) -> None:
    stop = StopRequest()
    trouble = Trouble(scene, "model", 1000)

    def stopped(key: str) -> None:
        if "model" in key:
            stop.order("now")

    trouble.store = Watched(trouble.store, before=stopped)
    _attempt(scene, trouble, stop=stop).run()
    ((_, outcome, reason),) = scene.history()
    assert outcome == "released"
    assert reason == "ordered to stop now; The disk must have room, but it is full."
    assert scene.trial.state == "queued"


def test_a_stop_with_a_full_disk_leaves_the_trial_with_its_last_good_checkpoint(
    scene: Scene, undisturbed: Outcome
) -> None:
    scene.one_epoch()
    trouble = Trouble(scene, "checkpoint", 1000)
    _attempt(scene, trouble, stop=StopRequest(parent_pid=-1)).run()
    _, (_, outcome, reason) = scene.history()
    assert outcome == "released"
    assert f"is gone; {SAID}" in reason
    assert scene.names == ["checkpoint-000001-001.safetensors"]
    scene.attempt().run()
    assert scene.trained_by() == {1: 1, 2: 3, 3: 3, 4: 3}
    assert scene.outcome() == undisturbed


def test_a_store_that_cannot_be_read_is_waited_for_and_never_taken_for_an_empty_one(
    scene: Scene, undisturbed: Outcome, tmp_path: Path
) -> None:
    """Else a trial would start again because a network was down for a moment."""
    scene.one_epoch()
    files, away = tmp_path / "files", tmp_path / "away"
    files.rename(away)
    with pytest.raises(
        StoreError, match=r"must exist on this machine .* Trial 0 can be continued"
    ):
        scene.attempt(patience_seconds=0.1).run()
    away.rename(files)
    scene.attempt().run()
    assert scene.trained_by() == {1: 1, 2: 3, 3: 3, 4: 3}
    assert scene.outcome() == undisturbed
