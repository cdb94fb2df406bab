"""Checkpoint files: whole or refused, and never code."""

import pickle
import random
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vae_models.checkpoints import (
    Checkpoint,
    checkpoint_bytes,
    load_checkpoint,
    read_checkpoint,
    restore_model,
)
from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.errors import CheckpointError
from vae_models.results import EpochResult
from vae_models.trainer import Trainer
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
    (tmp_path / "trial.safetensors").write_bytes(checkpoint_bytes(checkpoint))
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


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_torn_file_is_recognised(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="must be a whole safetensors file"):
        load_checkpoint(path)


def test_a_flipped_bit_is_recognised_wherever_it_is(path: Path) -> None:
    """In the length of the header, in the header, in the settings, and in the numbers."""
    content, rng = path.read_bytes(), random.Random(0)
    header = int.from_bytes(content[:8], "little") + 8
    places = [*range(0, header, 3), *(rng.randrange(header, len(content)) for _ in range(200))]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << rng.randrange(8)
        with pytest.raises(
            CheckpointError, match=r"A checkpoint must|The digest in a checkpoint's"
        ):
            read_checkpoint(bytes(altered), "altered")


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


def test_a_record_of_a_later_version_is_refused(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {**asdict(checkpoint), "last": {**asdict(LAST), "perplexity": 7.0}}
    kept = {
        name: record[name] for name in record if name not in ("model", "optimiser", "objective")
    }
    with monkeypatch.context() as patch:
        patch.setattr("vae_models.checkpoints._record_of", lambda _: kept)
        content = checkpoint_bytes(checkpoint)
    with pytest.raises(CheckpointError, match=r"one that this version can read, .*perplexity"):
        read_checkpoint(content, "later")


def test_a_checkpoint_of_the_first_version_goes_on_as_it_did_there() -> None:
    """The file and the results were made by commit bc2cc15, before there were two weights."""
    checkpoint = load_checkpoint(Path(__file__).parent / "checkpoint_of_version_1.safetensors")
    assert (checkpoint.epoch, checkpoint.step, checkpoint.last) == (2, 10, None)
    config = TrialConfig.from_dict(checkpoint.config)
    trainer = Trainer([config], load_data(DataConfig(name="digits")), checkpoints=[checkpoint])
    results = [result for result in trainer if isinstance(result, EpochResult)]
    assert [result.epoch for result in results] == [3, 4]
    rates = [result.rate_nats for result in results]
    errors = [result.distortion_se for result in results]
    assert rates == pytest.approx([0.07687158435583115, 0.08454246670007706], rel=1e-4)
    assert errors == pytest.approx([21.225846099853516, 19.61036148071289], rel=1e-4)
