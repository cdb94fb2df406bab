"""Double precision, on devices that have it and on those that do not."""

from torch import Tensor

__all__ = ["float64"]


def float64(tensor: Tensor) -> Tensor:
    """The tensor in float64, on its device or, where that has none (MPS), on the CPU."""
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()
