"""A disk that is really full: training goes on, nothing is torn, and all ends well with room again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from attempts import LoneAttempt, Outcome, Scene, trial_config
from small_disk import fill, small_disk
from studies.queries import epochs_of
from study_examples import STUDY
from sweeps.stopping import StopRequest
from vae_models.checkpoints import read_checkpoint
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig

Eventually = Callable[[Callable[[], bool]], None]

CONFIG = trial_config(8)


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, digits: DataSet) -> Outcome:
    scene = Scene.of(tmp_path_factory.mktemp("undisturbed"), digits, CONFIG)
    scene.attempt().run()
    return scene.outcome()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "size=400k") as directory:
        yield directory


@pytest.fixture
def scene(tmp_path: Path, digits: DataSet, disk: Path) -> Scene:
    """A trial whose files go to the small disk; its database does not."""
    return Scene.of(tmp_path / "scene", digits, CONFIG, files=disk)


def _epochs(scene: Scene) -> int:
    return len(epochs_of(scene.db, STUDY.name).get(0, ()))


def _says_that_it_is_full(attempt: LoneAttempt) -> bool:
    return attempt.note is not None and "must have room" in attempt.note


def test_training_goes_on_with_a_full_disk_and_ends_when_there_is_room(
    scene: Scene, disk: Path, undisturbed: Outcome, eventually: Eventually
) -> None:
    filler = fill(disk)
    attempt = scene.attempt(checkpoint_seconds=0.0)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(attempt.run)
        try:
            waits = partial(_says_that_it_is_full, attempt)
            eventually(lambda: running.done() or (waits() and _epochs(scene) == 8))
            assert not running.done()
            assert scene.names == []
        finally:
            filler.unlink()
        running.result(timeout=60)
    assert attempt.note is None
    assert scene.names == ["model-001.safetensors"]
    assert [path.name for path in (disk / scene.folder).iterdir()] == ["model-001.safetensors"]
    assert scene.outcome() == undisturbed


def test_a_stop_with_a_full_disk_leaves_a_whole_checkpoint_to_go_on_from(
    scene: Scene, disk: Path, undisturbed: Outcome, eventually: Eventually
) -> None:
    scene.one_epoch()
    filler = fill(disk)
    stop = StopRequest()
    attempt = scene.attempt(checkpoint_seconds=0.0, stop=stop)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(attempt.run)
        eventually(lambda: _says_that_it_is_full(attempt))
        stop.order("now")
        running.result(timeout=60)
    assert scene.trial.state == "queued"
    assert scene.names == ["checkpoint-000001-001.safetensors"]
    reason = scene.history()[1][2]
    assert reason.startswith("ordered to stop now; ")
    assert "must have room to write" in reason
    filler.unlink()
    scene.attempt().run()
    assert scene.trained_by()[1] == 1
    assert scene.outcome() == undisturbed


def test_with_room_for_two_checkpoints_only_the_older_makes_way_for_the_next(
    scene: Scene, disk: Path, undisturbed: Outcome
) -> None:
    """Else the last two, which are there for safety, would block every later one."""
    scene.one_epoch()
    (size,) = [file.size for file in scene.store.keys(scene.folder)]
    fill(disk, leaving=size + size // 2)
    for epoch in range(2, 5):
        scene.one_epoch()
        newest = scene.names[-1]
        content = scene.store.get(scene.key(newest))
        assert read_checkpoint(content, newest).epoch == epoch
    attempt = scene.attempt(checkpoint_seconds=0.0)
    attempt.run()
    assert scene.trained_by()[4] == 4
    assert scene.outcome() == undisturbed


def test_a_database_on_a_full_disk_is_waited_for_and_loses_nothing(
    tmp_path: Path,
    digits: DataSet,
    undisturbed: Outcome,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        scene = Scene.of(disk, digits, CONFIG, files=tmp_path)
        attempt = scene.attempt()
        filler = fill(disk)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(attempt.run)
            try:
                full = "must have free space, but it is full"
                eventually(lambda: running.done() or full in caplog.text)
                assert not running.done()
            finally:
                filler.unlink()
            running.result(timeout=120)
        assert "answers again" in caplog.text
        assert scene.outcome() == undisturbed
        scene.db.close()
