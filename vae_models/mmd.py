"""Maximum mean discrepancy: how far two samples are from being draws of one distribution."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["SCALES", "imq_kernel", "squared_mmd"]

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Factors on the kernel's width, whose kernels are summed (Tolstikhin et al. 2018)."""


def imq_kernel(
    ones: Float[Tensor, "one latent"],
    others: Float[Tensor, "other latent"],
    width: Float[Tensor, ""] | float,
) -> Float[Tensor, "one other"]:
    """Inverse multiquadratics between all pairs: ``Σ_s C_s / (C_s + ‖x - y‖²)``, C_s = s width.

    Args:
        ones: x.
        others: y.
        width: In squared units of the points.
    """
    # Not by |x|² + |y|² - 2xy, which loses all digits of a short distance far from the origin.
    distance = torch.cdist(ones, others, compute_mode="donot_use_mm_for_euclid_dist")
    ratio = distance.square() / width
    return torch.stack([1 / (1 + ratio / scale) for scale in SCALES]).sum(0)


def squared_mmd(
    ones: Float[Tensor, "draw latent"],
    others: Float[Tensor, "draw latent"],
    width: Float[Tensor, ""] | float,
) -> Float[Tensor, ""]:
    """The unbiased estimate (U-statistic) of MMD² between the sources of two samples.

    ``Σ_{i≠j} [k(x_i, x_j) + k(y_i, y_j)] / (n (n - 1)) - 2 Σ_{ij} k(x_i, y_j) / n²``; it is zero
    on average where the two are one, so it can be negative. Gretton et al. 2012,
    https://jmlr.org/papers/v13/gretton12a.html.

    Args:
        ones: n >= 2 draws x.
        others: As many draws y.
        width: Of `imq_kernel`.
    """
    count = len(ones)
    within = _sum_of_pairs(ones, width) + _sum_of_pairs(others, width)
    between = imq_kernel(ones, others, width).mean()
    return within / (count * (count - 1)) - 2 * between


def _sum_of_pairs(
    points: Float[Tensor, "draw latent"], width: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """``Σ_{i≠j} k(x_i, x_j)``: without the diagonal, where every kernel is one."""
    kernel = imq_kernel(points, points, width)
    return kernel.sum() - kernel.diagonal().sum()
