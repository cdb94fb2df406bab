"""Checkpoints: all that a training needs to go on as if it had never stopped.

The random streams of a training are functions of its seed and the epoch (see `vae_models.slot`),
so a checkpoint at the end of an epoch needs no random state. Files are safetensors with the
settings as JSON in the header: reading one never runs code, other tools can open it, and a digest
over everything tells a torn or altered file. How a file gets to its place whole is the business of
whoever stores the bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vae_models.config import TrialConfig
from vae_models.errors import CheckpointError, ConfigError
from vae_models.networks import ImageShape
from vae_models.results import EpochResult
from vae_models.vae import VAE, build_vae

__all__ = [
    "Checkpoint",
    "checkpoint_bytes",
    "load_checkpoint",
    "read_checkpoint",
    "restore_model",
]

_FORMAT = "rdsweep-checkpoint-1"


@final
@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A training at the end of an epoch; tensors are on the CPU.

    Attributes:
        config: `TrialConfig.to_dict()` of the trial.
        image_shape: Channels, height, width of the data.
        data_checksum: `DataSet.checksum` of the data trained on.
        epoch: Epochs finished.
        step: Optimiser steps done.
        model: The model's parameters by name.
        optimiser: Adam's state, by ``index of the parameter.name of the state``.
        last: The last epoch's result; None before the first, and where an older version wrote it.
        objective: The regulariser's buffers by name.
        last_active_epochs: Of every latent, the last epoch in which it was active; 0 for none.
    """

    config: Mapping[str, Any]
    image_shape: ImageShape
    data_checksum: str
    epoch: int
    step: int
    model: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    last: EpochResult | None
    objective: Mapping[str, Tensor] = field(default_factory=dict)
    last_active_epochs: tuple[int, ...] = ()


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """The content of a checkpoint's file: safetensors with a digest in the header."""
    tensors = _named_tensors(checkpoint)
    record = json.dumps(_record_of(checkpoint), sort_keys=True)
    metadata = {"format": _FORMAT, "record": record, "sha256": _digest(record, tensors)}
    return save(tensors, metadata)


def read_checkpoint(content: bytes, where: str) -> Checkpoint:
    """The checkpoint in the content of a file.

    Args:
        content: All the bytes of the file.
        where: Its name, for the errors.

    Raises:
        CheckpointError: It is no checkpoint of ours, or was torn or altered.
    """
    try:
        tensors = load(content)
        metadata = _metadata_of(content)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: an unknown type of number
        raise CheckpointError(
            f"A checkpoint must be a whole safetensors file, but {where!r} "
            f"cannot be read as one: {error}."
        ) from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"A checkpoint must have format {_FORMAT!r} in its header, but "
            f"{where!r} has {metadata.get('format')!r}."
        )
    if metadata.get("sha256") != _digest(metadata.get("record", ""), tensors):
        raise CheckpointError(
            f"The digest in a checkpoint's header must be that of its content, but in "
            f"{where!r} it is not: the file was torn or altered."
        )
    try:
        return _checkpoint_of(json.loads(metadata["record"]), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"A checkpoint's record must be one that this version can read, but that of "
            f"{where!r} is not ({type(error).__name__}: {error})."
        ) from error


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        CheckpointError: The file cannot be read, is no checkpoint of ours, or was torn or altered.
    """
    where = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"A checkpoint must be a file that can be read, but {where!r} cannot: {error.strerror}."
        ) from error
    return read_checkpoint(content, where)


def restore_model(checkpoint: Checkpoint) -> VAE:
    """The model of a checkpoint, on the CPU.

    Raises:
        CheckpointError: The settings in it are ones that this version does not know.
    """
    try:
        config = TrialConfig.from_dict(checkpoint.config)
    except ConfigError as error:
        raise CheckpointError(
            f"A checkpoint's settings must be valid in this version, but: {error}"
        ) from error
    model = build_vae(config.model, checkpoint.image_shape, config.train.seed)
    model.load_state_dict(checkpoint.model)
    return model


def _metadata_of(content: bytes) -> dict[str, str]:
    """The free part of a safetensors header: its length stands in 8 bytes, then it is JSON."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def _named_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    named = {f"model.{name}": tensor for name, tensor in checkpoint.model.items()}
    named |= {f"optimiser.{name}": tensor for name, tensor in checkpoint.optimiser.items()}
    named |= {f"objective.{name}": tensor for name, tensor in checkpoint.objective.items()}
    return {name: tensor.contiguous() for name, tensor in named.items()}


def _record_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "config": checkpoint.config,
        "image_shape": list(checkpoint.image_shape),
        "data_checksum": checkpoint.data_checksum,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "last": None if checkpoint.last is None else asdict(checkpoint.last),
        "last_active_epochs": list(checkpoint.last_active_epochs),
    }


def _checkpoint_of(record: dict[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    channels, height, width = record["image_shape"]
    return Checkpoint(
        config=record["config"],
        image_shape=(channels, height, width),
        data_checksum=record["data_checksum"],
        epoch=record["epoch"],
        step=record["step"],
        model=_below("model.", tensors),
        optimiser=_below("optimiser.", tensors),
        last=_result_of(record["last"]),
        objective=_below("objective.", tensors),
        last_active_epochs=tuple(record.get("last_active_epochs", ())),
    )


def _result_of(stored: dict[str, Any] | None) -> EpochResult | None:
    """A stored result; None where an older version stored less of it than there is now."""
    needed = {field.name for field in fields(EpochResult) if field.default is MISSING}
    return EpochResult(**stored) if stored is not None and needed <= stored.keys() else None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _digest(record: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(record.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
