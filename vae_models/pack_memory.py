"""How much memory one more trial of a pack needs."""

import torch
from torch import Tensor

from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.networks import ImageShape
from vae_models.vae import build_vae

__all__ = ["bytes_per_trial"]

_ARRAYS_OF_PARAMETERS = 4  # themselves, their gradients and Adam's two moments
_FLOAT = 4
_TRANSIENT = 1.25  # of what backward keeps: what it makes on its way


def bytes_per_trial(config: TrialConfig, data: DataSet) -> int:
    """Bytes that a trial's parameters, optimiser and one training step take, at its own width.

    Parameters count four times (gradients and Adam's moments); what a step keeps for its backward
    pass is counted on a few examples, and a quarter is added for what backward makes on its way.
    Data and the framework's own memory are not in it.
    """
    model = build_vae(config.model, data.image_shape, config.train.seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    batch = min(config.train.batch_size, len(data.train))
    kept = _kept_bytes_per_example(config, data.image_shape) * batch
    return int(_ARRAYS_OF_PARAMETERS * _FLOAT * parameters + _TRANSIENT * kept)


def _kept_bytes_per_example(config: TrialConfig, image_shape: ImageShape) -> float:
    """What autograd keeps of one example, parameters left out, by the difference of two batches."""
    one, three = (_kept_bytes(config, image_shape, batch) for batch in (1, 3))
    return (three - one) / 2


def _kept_bytes(config: TrialConfig, image_shape: ImageShape, batch: int) -> int:
    model = build_vae(config.model, image_shape, config.train.seed)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images, noise = torch.rand(batch, *image_shape), torch.zeros(batch, config.model.latent_dim)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = model(images, noise)
        loss = terms.distortion_nll_nats.mean() + terms.rate_nats.mean()
        held = sum(kept.values())
    del loss
    return held
