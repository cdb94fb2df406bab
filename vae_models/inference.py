"""The state in which a trained model is measured: no gradients, full precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vae_models.vae import VAE

__all__ = ["inference"]


@contextmanager
def inference(model: VAE) -> Iterator[torch.device]:
    """No gradients, full float32 precision; yields the model's device."""
    in_bfloat16, model.in_bfloat16 = model.in_bfloat16, False
    tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False  # on by default; it keeps ten bits of the mantissa
    try:
        with torch.inference_mode():
            yield next(model.parameters()).device
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
        model.in_bfloat16 = in_bfloat16
