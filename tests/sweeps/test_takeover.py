"""A trial that was interrupted and goes on elsewhere ends as if nothing had happened, bit for bit."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from attempts import Scene, trial_config
from studies.queries import epochs_of
from studies.records import Lease
from study_examples import STUDY
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig

Eventually = Callable[[Callable[[], bool]], None]
Process = subprocess.Popen[str]

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "capacity": {"objective": {"regulariser": "capacity"}},
    "geco": {"objective": {"regulariser": "geco", "target_se": 5.0}},
    "cyclical": {"objective": {"annealing": "cyclical"}},
    "learned variance": {"model": {"likelihood": "gaussian_learned"}},
    "optimal variance": {"model": {"likelihood": "gaussian_optimal"}},
    "learned prior": {"model": {"prior": "vamp"}},
    "cosine": {"train": {"lr_schedule": "cosine"}},
    "convolutions": {"model": {"family": "conv"}},
}


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_trial_that_changes_its_worker_after_every_epoch_ends_like_an_undisturbed_one(
    tmp_path: Path, digits: DataSet, name: str
) -> None:
    config = trial_config(4, **SETTINGS[name])
    undisturbed = Scene.of(tmp_path / "undisturbed", digits, config)
    undisturbed.attempt().run()
    disturbed = Scene.of(tmp_path / "disturbed", digits, config)
    for _ in range(3):
        disturbed.one_epoch()
    disturbed.attempt().run()
    assert disturbed.trained_by() == {1: 1, 2: 2, 3: 3, 4: 4}
    assert disturbed.outcome() == undisturbed.outcome()


WORKER = """
import os
import signal
import sys
from pathlib import Path
from attempts import Scene
from studies.database import open_database
from sweeps.directory_store import DirectoryStore
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from watched_store import Watched
folder, when, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def suspend(key):
    if key.endswith(name):
        os.kill(os.getpid(), signal.SIGSTOP)

store = Watched(DirectoryStore(folder / "files"), **{when: suspend})
db = open_database(f"sqlite:///{folder / 'attempts.db'}")
scene = Scene(db, store, load_data(DataConfig(name="digits")))
lease = scene.take(lease_seconds=0.5)
scene.attempt(lease, lease_seconds=0.5, checkpoint_seconds=0.0).run()
"""


@contextmanager
def worker(folder: Path, when: str = "before", name: str = "never") -> Iterator[Process]:
    """A process that tries the trial, and suspends itself before or after it writes a file."""
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), when, name],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def take_over(scene: Scene, eventually: Eventually) -> None:
    """Runs the trial to its end, once the lease of its worker has run out."""
    leases: list[Lease] = []

    def free() -> bool:
        leases.extend(filter(None, [scene.try_to_take()]))
        return bool(leases)

    eventually(free)
    scene.attempt(leases[0]).run()


def test_a_killed_workers_trial_goes_on_from_its_last_checkpoint_under_the_same_number(
    tmp_path: Path, digits: DataSet, eventually: Eventually
) -> None:
    config = trial_config(60)
    undisturbed = Scene.of(tmp_path / "undisturbed", digits, config)
    undisturbed.attempt().run()
    scene = Scene.of(tmp_path / "killed", digits, config)
    with worker(tmp_path / "killed") as process:
        eventually(lambda: len(epochs_of(scene.db, STUDY.name).get(0, ())) >= 5)
        process.send_signal(signal.SIGKILL)
    assert scene.trial.state == "running"
    take_over(scene, eventually)
    by = scene.trained_by()
    assert by[1] == 1
    assert by[60] == 2
    assert scene.deaths() == 1
    assert scene.names == ["model-002.safetensors"]
    assert scene.outcome() == undisturbed.outcome()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["checkpoint-000002-001.safetensors", "model-001.safetensors"])
def test_a_worker_suspended_past_its_lease_wakes_up_and_leaves_nothing(
    tmp_path: Path, digits: DataSet, eventually: Eventually, when: str, name: str
) -> None:
    """Its successor ended the trial meanwhile, and its record and files stay as they are."""
    config = trial_config(3)
    undisturbed = Scene.of(tmp_path / "undisturbed", digits, config)
    undisturbed.attempt().run()
    scene = Scene.of(tmp_path / "suspended", digits, config)
    with worker(tmp_path / "suspended", when, name) as process:
        status = psutil.Process(process.pid).status
        eventually(lambda: status() == psutil.STATUS_STOPPED)
        take_over(scene, eventually)
        process.send_signal(signal.SIGCONT)
        _, complaint = process.communicate(timeout=60)
    assert "LeaseLost: A worker must hold the lease" in complaint
    assert scene.names == ["model-002.safetensors"]
    files = (tmp_path / "suspended/files" / scene.folder).iterdir()
    assert [path.name for path in files] == ["model-002.safetensors"]
    assert scene.history()[0][1] == "lost"
    assert scene.outcome() == undisturbed.outcome()
