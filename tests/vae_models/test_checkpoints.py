"""Checkpoint files: whole or refused, and never code."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vae_models.checkpoints import Checkpoint, load_checkpoint, restore_model, save_checkpoint
from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.errors import CheckpointError
from vae_models.results import EpochResult
from vae_models.vae import build_vae

CONFIG = TrialConfig(model=ModelConfig(hidden=(8,), latent_dim=2), train=TrainConfig(seed=3))
LAST = EpochResult(
    slot=0,
    epoch=2,
    step=20,
    rate_nats=1 / 3,
    distortion_se=0.1,
    distortion_nll_nats=-5e-324,
    objective=1e300,
    annealing_weight=0.5,
    nll_weight=1.0,
    rate_weight=0.25,
    learning_rate=1e-3,
    seconds=0.25,
)


@pytest.fixture
def checkpoint() -> Checkpoint:
    model = build_vae(CONFIG.model, (1, 4, 4), seed=11)
    return Checkpoint(
        config=CONFIG.to_dict(),
        image_shape=(1, 4, 4),
        data_checksum="0" * 64,
        epoch=2,
        step=20,
        model=model.state_dict(),
        optimiser={"0.step": torch.tensor(20.0), "0.exp_avg": torch.randn(8, 16)},
        last=LAST,
    )


@pytest.fixture
def path(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    save_checkpoint(tmp_path / "trial.safetensors", checkpoint)
    return tmp_path / "trial.safetensors"


def test_a_checkpoint_comes_back_as_it_was(path: Path, checkpoint: Checkpoint) -> None:
    loaded = load_checkpoint(path)
    assert loaded.config == checkpoint.config
    assert (loaded.epoch, loaded.step, loaded.last) == (2, 20, LAST)
    assert (loaded.image_shape, loaded.data_checksum) == ((1, 4, 4), "0" * 64)
    for ours, theirs in (
        (loaded.model, checkpoint.model),
        (loaded.optimiser, checkpoint.optimiser),
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_the_model_of_a_checkpoint_is_restored(path: Path, checkpoint: Checkpoint) -> None:
    restored = restore_model(load_checkpoint(path)).state_dict()
    assert all(torch.equal(restored[name], value) for name, value in checkpoint.model.items())


def test_other_tools_can_open_the_file(path: Path, checkpoint: Checkpoint) -> None:
    names = {f"model.{name}" for name in checkpoint.model}
    assert names < load_file(path).keys()


def test_saving_leaves_nothing_but_the_file(path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(path, checkpoint)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """The target is a directory: the rename fails after everything was written."""
    target = tmp_path / "taken"
    target.mkdir()
    model = build_vae(CONFIG.model, (1, 4, 4), seed=0)
    checkpoint = Checkpoint(
        config=CONFIG.to_dict(),
        image_shape=(1, 4, 4),
        data_checksum="",
        epoch=0,
        step=0,
        model=model.state_dict(),
        optimiser={},
        last=None,
    )
    with pytest.raises(OSError, match="taken"):
        save_checkpoint(target, checkpoint)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_torn_file_is_recognised(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="must be a whole safetensors file"):
        load_checkpoint(path)


def test_an_altered_byte_is_recognised(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="the file was torn or altered"):
        load_checkpoint(path)


def test_altered_settings_are_recognised(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(rb"\"latent_dim\": 2", rb"\"latent_dim\": 3"))
    with pytest.raises(CheckpointError, match="the file was torn or altered"):
        load_checkpoint(path)


def test_a_foreign_safetensors_file_is_recognised(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="must have format 'rdsweep-checkpoint-1'"):
        load_checkpoint(tmp_path / "foreign")


def test_a_pickle_is_refused_and_its_code_never_runs(tmp_path: Path) -> None:
    class Mine:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "evil").write_bytes(pickle.dumps(Mine()))
    with pytest.raises(CheckpointError, match="must be a whole safetensors file"):
        load_checkpoint(tmp_path / "evil")
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere")


def test_settings_of_another_version_are_refused(checkpoint: Checkpoint) -> None:
    checkpoint.config["model"]["family"] = "transformer"
    with pytest.raises(CheckpointError, match="must be valid in this version, but: family"):
        restore_model(checkpoint)


SAVER = """
import sys
from vae_models.checkpoints import load_checkpoint, save_checkpoint
checkpoint = load_checkpoint(sys.argv[1])
print("saving", flush=True)
while True:
    save_checkpoint(sys.argv[1], checkpoint)
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SAVER, os.fspath(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.01, 0.1))
        process.send_signal(signal.SIGKILL)
    assert load_checkpoint(path).epoch == 2
