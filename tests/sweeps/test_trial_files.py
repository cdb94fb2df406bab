"""A trial's files: the newest good checkpoint is used, no writer harms another, nothing is left."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from attempts import Outcome, Scene, trial_config
from studies.errors import LeaseLost, StorageError
from studies.leases import extend_lease, release_trial, take_trial
from study_examples import STUDY
from sweeps.finished_files import tidy_finished, unneeded_files
from sweeps.trial_files import TrialFile
from vae_models.checkpoints import checkpoint_bytes
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.trainer import Trainer
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


@pytest.fixture
def interrupted(scene: Scene) -> Scene:
    """Two attempts ended an epoch each: there are two checkpoints, and two epochs are left."""
    scene.one_epoch()
    scene.one_epoch()
    assert scene.names == [OLDER, NEWER]
    return scene


OLDER, NEWER = "checkpoint-000001-001.safetensors", "checkpoint-000002-002.safetensors"


def foreign_checkpoint(digits: DataSet, **settings: object) -> bytes:
    """A whole checkpoint after two epochs of another trial."""
    trainer = Trainer([trial_config(4, **settings)], digits)  # type: ignore[arg-type]
    for result in trainer:
        if result.epoch == 2:
            break
    return checkpoint_bytes(trainer.checkpoint(0))


TEARS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "header cut": lambda content: content[:100],
    "half": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a bit flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "a bit of the header flipped": lambda content: (
        content[:50] + bytes([content[50] ^ 4]) + content[51:]
    ),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS)
def test_a_torn_newest_checkpoint_is_passed_over_for_the_one_before(
    interrupted: Scene,
    undisturbed: Outcome,
    tear: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    newest = interrupted.key(NEWER)
    interrupted.store.put(newest, tear(interrupted.store.get(newest)))
    interrupted.attempt().run()
    assert interrupted.trained_by() == {1: 1, 2: 3, 3: 3, 4: 3}
    assert interrupted.outcome() == undisturbed
    assert "trial 0 goes on from an earlier checkpoint" in caplog.text


def test_with_both_checkpoints_torn_the_training_starts_again(
    interrupted: Scene, undisturbed: Outcome
) -> None:
    for name in OLDER, NEWER:
        content = interrupted.store.get(interrupted.key(name))
        interrupted.store.put(interrupted.key(name), content[: len(content) // 2])
    interrupted.attempt().run()
    assert interrupted.trained_by() == {1: 3, 2: 3, 3: 3, 4: 3}
    assert interrupted.outcome() == undisturbed


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"train": {"seed": 9}}, "settings must be those of the trial"),
        ({"model": {"latent_dim": 2}}, "settings must be those of the trial"),
    ],
    ids=["another seed", "another network"],
)
def test_another_trials_checkpoint_is_passed_over(
    interrupted: Scene,
    digits: DataSet,
    undisturbed: Outcome,
    settings: dict[str, object],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    interrupted.store.put(interrupted.key(NEWER), foreign_checkpoint(digits, **settings))
    interrupted.attempt().run()
    assert reason in caplog.text
    assert interrupted.trained_by()[2] == 3
    assert interrupted.outcome() == undisturbed


def test_a_checkpoint_on_other_data_is_passed_over(
    interrupted: Scene, undisturbed: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    other = load_data(DataConfig(name="digits", heldout_fraction=0.3))
    interrupted.store.put(interrupted.key(NEWER), foreign_checkpoint(other))
    interrupted.attempt().run()
    assert "the checksums of a checkpoint's data" in caplog.text
    assert interrupted.outcome() == undisturbed


def test_a_pickle_under_a_checkpoints_name_is_passed_over_and_its_code_never_runs(
    interrupted: Scene, undisturbed: Outcome, tmp_path: Path
) -> None:
    class Mine:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    interrupted.store.put(interrupted.key(NEWER), pickle.dumps(Mine()))
    interrupted.attempt().run()
    assert not (tmp_path / "ran").exists()
    assert interrupted.outcome() == undisturbed


def test_the_checkpoint_of_the_first_release_goes_on_under_its_name(
    interrupted: Scene, undisturbed: Outcome
) -> None:
    content = interrupted.store.get(interrupted.key(NEWER))
    for name in OLDER, NEWER:
        interrupted.store.delete(interrupted.key(name))
    interrupted.store.put(interrupted.key("checkpoint.safetensors"), content)
    interrupted.one_epoch()
    assert interrupted.names == ["checkpoint-000003-003.safetensors", "checkpoint.safetensors"]
    interrupted.attempt().run()
    assert interrupted.trained_by() == {1: 1, 2: 2, 3: 3, 4: 4}
    assert interrupted.names == ["model-004.safetensors"]
    assert interrupted.outcome() == undisturbed


def test_a_checkpoint_of_an_epoch_that_is_not_stored_is_passed_over(
    interrupted: Scene, undisturbed: Outcome, digits: DataSet, caplog: pytest.LogCaptureFixture
) -> None:
    """An attempt that had lost the trial wrote it, and died before it could take it back."""
    late = Trainer([CONFIG], digits)
    list(late)
    late_name = TrialFile(epoch=4, attempt=1).name
    interrupted.store.put(interrupted.key(late_name), checkpoint_bytes(late.checkpoint(0)))
    interrupted.attempt().run()
    assert "must be of an epoch that is stored, but 4 > 2" in caplog.text
    assert interrupted.trained_by() == {1: 1, 2: 2, 3: 3, 4: 3}
    assert interrupted.outcome() == undisturbed


def test_a_model_whose_record_was_not_written_is_not_trained_again(
    scene: Scene, undisturbed: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise StorageError("The database must answer, but it does not.")

    with monkeypatch.context() as patch:
        patch.setattr("sweeps.attempt.finish_trial", gone)
        attempt = scene.attempt()
        with pytest.raises(StorageError, match="must answer"):
            attempt.run()
    assert scene.names == ["model-001.safetensors"]
    release_trial(scene.db, attempt.lease, "its worker ended")
    scene.attempt().run()
    assert scene.trained_by() == {1: 1, 2: 1, 3: 1, 4: 1}
    assert scene.names == ["model-002.safetensors"]
    assert scene.outcome() == undisturbed


def test_the_last_two_checkpoints_are_kept(scene: Scene) -> None:
    seen: list[list[str]] = []
    scene.store = Watched(scene.store, after=lambda key: seen.append(scene.names))
    scene.attempt(checkpoint_seconds=0.0).run()
    names = [f"checkpoint-{epoch:06d}-001.safetensors" for epoch in range(1, 5)]
    assert seen == [
        names[:1],
        names[:2],
        names[:3],
        names[1:4],
        [*names[2:], "model-001.safetensors"],
    ]
    assert scene.names == ["model-001.safetensors"]


def test_a_worker_that_lost_its_trial_while_it_wrote_takes_the_checkpoint_back(
    scene: Scene,
) -> None:
    """Suspended in the middle of the write; its successor's files stay as they are."""
    lease = scene.take()

    def suspended(key: str) -> None:
        if key.endswith("000002-001.safetensors"):
            extend_lease(scene.db, lease, -1.0)
            scene.one_epoch(store=scene.store)

    slow = Watched(scene.store, before=suspended)
    with pytest.raises(LeaseLost, match="lost attempt 1 at trial 0"):
        scene.attempt(lease, store=slow, checkpoint_seconds=0.0).run()
    assert scene.names == [OLDER, NEWER]
    assert scene.trained_by() == {1: 1, 2: 2}


def test_a_worker_that_lost_its_trial_at_its_end_takes_the_model_back(
    scene: Scene, undisturbed: Outcome
) -> None:
    lease = scene.take()

    def suspended(key: str) -> None:
        if key.endswith("model-001.safetensors"):
            extend_lease(scene.db, lease, -1.0)
            scene.attempt(store=scene.store).run()

    slow = Watched(scene.store, after=suspended)
    with pytest.raises(LeaseLost, match="lost attempt 1 at trial 0"):
        scene.attempt(lease, store=slow).run()
    assert scene.names == ["model-002.safetensors"]
    assert scene.outcome() == undisturbed


def test_a_worker_that_lost_its_trial_writes_no_file(scene: Scene) -> None:
    lease = scene.take()
    attempt = scene.attempt(lease, checkpoint_seconds=0.0)
    extend_lease(scene.db, lease, -1.0)
    scene.take()
    with pytest.raises(LeaseLost, match="lost attempt 1 at trial 0"):
        attempt.run()
    assert scene.names == []


def test_what_a_killed_writer_left_half_written_goes_when_the_trial_goes_on(
    interrupted: Scene, tmp_path: Path
) -> None:
    folder = tmp_path / "files" / interrupted.folder
    (folder / f".{NEWER}.{'0' * 32}.part").write_bytes(b"half")
    interrupted.one_epoch()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_trial_that_diverges_leaves_no_file(tmp_path: Path, digits: DataSet) -> None:
    scene = Scene.of(tmp_path, digits, trial_config(6, train={"learning_rate": 1e12}))
    scene.attempt(checkpoint_seconds=0.0).run()
    assert scene.trial.state == "diverged"
    assert scene.names == []


def test_a_trial_that_fails_leaves_no_file(interrupted: Scene) -> None:
    interrupted.attempt().fail("Traceback: …")
    assert interrupted.trial.state == "failed"
    assert interrupted.names == []


def test_what_a_worker_left_that_was_killed_at_the_end_is_found_and_deleted(
    interrupted: Scene, undisturbed: Outcome
) -> None:
    """Files of a running trial, logs, and folders of trials that are not known stay."""
    store, names = interrupted.store, (OLDER, NEWER)
    contents = {interrupted.key(name): store.get(interrupted.key(name)) for name in names}
    others = (f"{STUDY.name}/logs/worker-0.log", f"{STUDY.name}/00000-deadbeef/{OLDER}")
    for key in others:
        store.put(key, b"")
    assert unneeded_files(store, interrupted.db, STUDY.name) == []
    assert tidy_finished(store, interrupted.db, STUDY.name) == 0
    interrupted.attempt().run()
    for key, content in contents.items():
        store.put(key, content)
    unneeded = unneeded_files(store, interrupted.db, STUDY.name)
    assert [file.key for file in unneeded] == list(contents)
    assert tidy_finished(store, interrupted.db, STUDY.name) == 2
    assert interrupted.names == ["model-003.safetensors"]
    files = store.keys()
    assert {file.key for file in files} > set(others)
    assert interrupted.outcome() == undisturbed


def test_what_a_trial_left_that_was_given_up_is_deleted(scene: Scene, tmp_path: Path) -> None:
    """Its workers died one after the other, the last of them while it wrote."""
    scene.one_epoch()
    for _ in range(3):
        scene.take(lease_seconds=-1.0)
    folder = tmp_path / "files" / scene.folder
    (folder / f".{OLDER}.{'0' * 32}.part").write_bytes(b"half")
    assert take_trial(scene.db, STUDY.name, "late", lease_seconds=1, max_attempts=3) is None
    assert scene.trial.state == "failed"
    assert tidy_finished(scene.store, scene.db, STUDY.name) == 2
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("checkpoint-000012-003.safetensors", TrialFile(epoch=12, attempt=3)),
        ("checkpoint-1234567-1234.safetensors", TrialFile(epoch=1234567, attempt=1234)),
        ("model-001.safetensors", TrialFile(trained=True, attempt=1)),
        ("checkpoint.safetensors", TrialFile()),
        ("checkpoint-12-003.safetensors", None),
        ("checkpoint-000012-003.safetensors.bak", None),
        ("worker-0.log", None),
    ],
)
def test_names_tell_epoch_and_attempt(name: str, file: TrialFile | None) -> None:
    assert TrialFile.of(f"study/00000-deadbeef/{name}") == file
    if file is not None and file != TrialFile():
        assert file.name == name


def test_the_trained_model_is_newer_than_any_checkpoint_and_a_nameless_one_older() -> None:
    files = [
        TrialFile(),
        TrialFile(epoch=3, attempt=2),
        TrialFile(epoch=10, attempt=1),
        TrialFile(trained=True, attempt=1),
    ]
    backwards = files[::-1]
    assert sorted(backwards) == files
