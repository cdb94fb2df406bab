"""The covariance spectrum of data sets: where a code of them starts and what it can reach."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["covariance_spectrum", "pixel_means"]

_MIDDLE = 128.0  # bytes are shifted by it, which no covariance notices
_EXACT_ROWS = 1024  # 1024 · 128² = 2²⁴: float32 products of that many shifted bytes are exact
_CHUNK = 4096


def covariance_spectrum(
    examples: NDArray[Any], scale: float, *, dynamic: bool = False
) -> NDArray[np.float64]:
    """Eigenvalues of the examples' covariance (divisor n), N of them, in descending order.

    What is no larger than the rounding error of the covariance is exactly zero, so that the number
    of directions in which the data vary at all is the same on every machine.

    For dynamically binarised data, of the covariance of what the model sees: with p the grey
    values, Cov(p) + diag(E[p(1−p)]).

    Args:
        examples: [n, C, H, W], as stored.
        scale: Factor to model units; the eigenvalues are in squared model units.
        dynamic: Whether the values are the probabilities of pixels drawn anew for each batch.
    """
    rows = examples.reshape(len(examples), -1)
    count, pixels = rows.shape
    dual = count < pixels and not dynamic
    gram = _gram(rows.T if dual else rows)
    covariance = (_dual_covariance(gram) if dual else _covariance(gram, rows)) * scale**2
    if dynamic:
        covariance[np.diag_indices(pixels)] += _bernoulli_variance(rows, scale)
    rounding = np.trace(gram) / count * scale**2 * np.finfo(np.float64).eps
    return _descending(covariance, pixels, rounding)


def pixel_means(examples: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """Mean of each pixel in model units, [N]."""
    rows = examples.reshape(len(examples), -1)
    return _column_sums(rows) * (scale / len(rows))


def _covariance(gram: NDArray[np.float64], rows: NDArray[Any]) -> NDArray[np.float64]:
    mean = _column_sums(rows) / len(rows) - _origin(rows)
    covariance: NDArray[np.float64] = gram / len(rows) - np.outer(mean, mean)
    return covariance


def _dual_covariance(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """The n×n matrix with the nonzero eigenvalues of the N×N covariance."""
    means = gram.mean(axis=0)
    dual: NDArray[np.float64] = gram - means[:, None] - means[None, :] + means.mean()
    return dual / len(gram)


def _gram(rows: NDArray[Any]) -> NDArray[np.float64]:
    """AᵀA in float64 with A = rows − origin.

    Bytes go by way of float32 products, which are exact here and take half the time.
    """
    exact = rows.dtype == np.uint8
    step, dtype = (_EXACT_ROWS, "float32") if exact else (_CHUNK, "float64")
    gram = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step].astype(dtype) - _origin(rows)
        gram += chunk.T @ chunk
    return gram


def _origin(rows: NDArray[Any]) -> float:
    return _MIDDLE if rows.dtype == np.uint8 else 0.0


def _column_sums(rows: NDArray[Any]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = rows.sum(axis=0, dtype=np.float64)
    return total


def _bernoulli_variance(rows: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """E[p(1−p)] of each pixel."""
    variance = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _CHUNK):
        p = rows[start : start + _CHUNK] * scale
        variance += (p * (1 - p)).sum(axis=0)
    return variance / len(rows)


def _descending(
    covariance: NDArray[np.float64], pixels: int, rounding: float
) -> NDArray[np.float64]:
    """Eigenvalues from the largest, rounding errors set to zero, filled up with zeros."""
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1]
    eigenvalues = np.where(eigenvalues > rounding, eigenvalues, 0.0)
    return np.pad(eigenvalues, (0, pixels - len(eigenvalues)))
