"""A trial that was interrupted and goes on elsewhere ends as if nothing had happened, bit for bit."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attempts import Scene, trial_config
from studies.queries import epochs_of
from studies.records import Lease
from study_examples import STUDY
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig

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
import sys
from pathlib import Path
from attempts import Scene
from studies.database import open_database
from sweeps.directory_store import DirectoryStore
from vae_models.data import load_data
from vae_models.data_config import DataConfig
folder = Path(sys.argv[1])
db = open_database(f"sqlite:///{folder / 'attempts.db'}")
scene = Scene(db, DirectoryStore(folder / "files"), load_data(DataConfig(name="digits")))
lease = scene.take(lease_seconds=0.5)
scene.attempt(lease, lease_seconds=0.5, checkpoint_seconds=0.0).run()
"""


def test_a_killed_workers_trial_goes_on_from_its_last_checkpoint_under_the_same_number(
    tmp_path: Path, digits: DataSet, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    config = trial_config(60)
    undisturbed = Scene.of(tmp_path / "undisturbed", digits, config)
    undisturbed.attempt().run()
    scene = Scene.of(tmp_path / "killed", digits, config)
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        eventually(lambda: len(epochs_of(scene.db, STUDY.name).get(0, ())) >= 5)
        process.send_signal(signal.SIGKILL)
    assert scene.trial.state == "running"
    leases: list[Lease] = []

    def free() -> bool:
        leases.extend(filter(None, [scene.try_to_take()]))
        return bool(leases)

    eventually(free)  # the lease of the dead has run out
    scene.attempt(leases[0]).run()
    by = scene.trained_by()
    assert by[1] == 1
    assert by[60] == 2
    assert scene.deaths() == 1
    assert scene.names == ["model-002.safetensors"]
    assert scene.outcome() == undisturbed.outcome()
