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

    For dynamically binarised data, of the covariance of what the model sees: with p the grey
    values, Cov(p) + diag(E[p(1−p)]).

    Args:
        examples: [n, C, H, W], as stored.
        scale: Factor to model units; the eigenvalues are in squared model units.
        dynamic: Whether the values are the probabilities of pixels drawn anew for each batch.
    """
    rows = examples.reshape(len(examples), -1)
    count, pixels = rows.shape
    if count < pixels and not dynamic:
        return _descending(_dual_covariance(rows) * scale**2, pixels)
    covariance = _covariance(rows) * scale**2
    if dynamic:
        covariance[np.diag_indices(pixels)] += _bernoulli_variance(rows, scale)
    return _descending(covariance, pixels)


def pixel_means(examples: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """Mean of each pixel in model units, [N]."""
    rows = examples.reshape(len(examples), -1)
    return _column_sums(rows) * (scale / len(rows))


def _covariance(rows: NDArray[Any]) -> NDArray[np.float64]:
    mean = _column_sums(rows) / len(rows) - _origin(rows)
    covariance: NDArray[np.float64] = _gram(rows) / len(rows) - np.outer(mean, mean)
    return covariance


def _dual_covariance(rows: NDArray[Any]) -> NDArray[np.float64]:
    """The n×n matrix with the nonzero eigenvalues of the N×N covariance."""
    gram = _gram(rows.T)
    means = gram.mean(axis=0)
    dual: NDArray[np.float64] = (gram - means[:, None] - means[None, :] + means.mean()) / len(rows)
    return dual


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


def _descending(covariance: NDArray[np.float64], pixels: int) -> NDArray[np.float64]:
    """Eigenvalues from the largest, rounding errors below zero cut off, filled up with zeros."""
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1].clip(min=0)
    return np.pad(eigenvalues, (0, pixels - len(eigenvalues)))
