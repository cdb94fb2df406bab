"""What a decoder's output goes through before it is a mean or a location."""

from torch import nn

__all__ = ["output_activation_of"]


def output_activation_of(name: str | None) -> nn.Module:
    """The module of an ``output_activation``: the identity or the sigmoid.

    Args:
        name: One of `vae_models.config.OUTPUT_ACTIVATIONS`; None, where nothing reads it, is the
            identity.
    """
    return nn.Sigmoid() if name == "sigmoid" else nn.Identity()
