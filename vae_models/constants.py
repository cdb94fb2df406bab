"""Numbers of a trial's settings that its modules compute with."""

import torch
from torch import nn

__all__ = ["hold_constant"]


def hold_constant(module: nn.Module, name: str, value: float) -> None:
    """Makes a number an attribute of a module, as a buffer that no checkpoint holds.

    As a buffer it moves with the module to its device, and the modules of many trials can be
    called as one, each with a number of its own.
    """
    constant = torch.tensor(value, dtype=torch.float32, device="cpu")
    module.register_buffer(name, constant, persistent=False)
