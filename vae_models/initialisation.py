"""Starting weights of deep stacks of ReLU layers."""

import math

from torch import nn

__all__ = ["WEIGHTED", "keep_variance"]

WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""The layers with weights that our networks are made of."""


def keep_variance(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Gives a layer next to a ReLU weights that keep the signal's variance, and no bias.

    With torch's own, smaller weights, six layers deep, the encoder's signal is so faint that the
    latents collapse at any beta in the first epochs (see the test of the convolutional family).

    Reference: K. He et al. (2015), https://arxiv.org/abs/1502.01852.
    """
    bound = math.sqrt(6 / _inputs_per_output(layer))
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _inputs_per_output(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """How many inputs reach one output; in a transposed layer a stride leaves gaps."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.weight[:, 0].numel() / math.prod(layer.stride)
    return float(layer.weight[0].numel())
