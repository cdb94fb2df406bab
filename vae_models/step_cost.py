"""How many operations a training step takes in its matrix products and convolutions."""

import torch
from torch import Tensor, nn

from vae_models.config import TrialConfig
from vae_models.networks import ImageShape
from vae_models.vae import build_vae

__all__ = ["step_flops"]

_PASSES = 3  # forward, gradients of the inputs, gradients of the weights
_MULTIPLY_AND_ADD = 2


def step_flops(config: TrialConfig, image_shape: ImageShape) -> int:
    """Floating-point operations of one step's matrix products and convolutions.

    Six for every weight, every place in which it is used, and every example: multiply and add, in
    the forward pass, for the gradient of the layer's inputs and for that of its weights. (The
    first layer needs no gradient of its inputs; it is counted all the same.)

    Args:
        config: The trial.
        image_shape: Channels, height, width.
    """
    model = build_vae(config.model, image_shape, config.train.seed)
    uses = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal uses
        uses += _uses_of_weights(layer, inputs[0], output)

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, *image_shape), torch.zeros(1, config.model.latent_dim))
    return _PASSES * _MULTIPLY_AND_ADD * config.train.batch_size * uses


def _uses_of_weights(layer: nn.Module, inputs: Tensor, output: Tensor) -> int:
    """Multiplications of one example's forward pass."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight.numel() * inputs.shape[-2] * inputs.shape[-1]
    if isinstance(layer, nn.Conv2d):
        return layer.weight.numel() * output.shape[-2] * output.shape[-1]
    return layer.weight.numel() if isinstance(layer, nn.Linear) else 0
