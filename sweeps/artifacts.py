"""What a trial leaves behind for the eye and for later: pictures, and the trained model's file."""

import hashlib
import io
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studies.records import ArtifactRecord
from vae_models.data import DataSet
from vae_models.evaluation import Evaluation
from vae_models.pictures import reconstruct, sample_prior, traverse
from vae_models.vae import VAE


def stored_artifact(kind: str, key: str, content: bytes) -> ArtifactRecord:
    """The record of content that the artifact store keeps under a key."""
    return ArtifactRecord(
        kind=kind,
        media_type="application/octet-stream",
        content=None,
        path=key,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def picture_artifacts(model: VAE, data: DataSet, evaluation: Evaluation) -> list[ArtifactRecord]:
    """The same held-out images for every trial above their reconstructions, and what z draws.

    As uint8 arrays: "reconstructions" is [2, count, C, H, W], "samples" [count, C, H, W],
    "traversals" [latent, step, C, H, W], with their latents as int64 in "traversal_latents".
    Data that is no image has none.
    """
    pair, samples = reconstruct(model, data), sample_prior(model, data)
    traversals = traverse(model, data, evaluation.latent_kl_nats)
    if pair is None or samples is None or traversals is None:
        return []
    return [
        _array_artifact("reconstructions", _levels(torch.stack(pair))),
        _array_artifact("samples", _levels(samples)),
        _array_artifact("traversals", _levels(traversals.images)),
        _array_artifact("traversal_latents", np.array(traversals.latents, np.int64)),
    ]


def _levels(images: Tensor) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = (images * 255).round().to(torch.uint8).numpy()
    return levels


def _array_artifact(kind: str, array: NDArray[Any]) -> ArtifactRecord:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    return ArtifactRecord(
        kind=kind,
        media_type="application/x-npy",
        content=content,
        path=None,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
