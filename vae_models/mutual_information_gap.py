"""How much more one latent tells of a factor than any other: the mutual information gap."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_BINS", "bins_of", "informativeness", "mutual_information_gap"]

FEWEST_BINS = 20
"""Bins of a latent (Locatello et al. 2019); more for a factor that takes more values."""

_LEAST_ENTROPY = 1e-9  # nats: below it, a factor's entropy is its chance level but for rounding


def mutual_information_gap(
    codes: NDArray[np.float64], factors: NDArray[np.int64], sizes: Sequence[int]
) -> float | None:
    """MIG: the gap between the two latents that tell most of a factor, averaged over factors.

    ``MIG = mean_k (I_1k - I_2k)``, where I_jk is `informativeness` and the latents are sorted by
    it for each factor. A single latent has its gap to zero.

    Reference: R. T. Q. Chen et al., Isolating Sources of Disentanglement in VAEs (2018),
    https://arxiv.org/abs/1802.04942; bins as in F. Locatello et al. (2019),
    https://arxiv.org/abs/1811.12359.

    Args:
        codes: One number per latent, [n, M].
        factors: Classes, [n, F].
        sizes: How many values each factor can take, [F].

    Returns:
        A number from 0 to 1; None without latents, or if no factor has two values in the sample.
    """
    varied = [k for k, column in enumerate(factors.T) if len(np.unique(column)) > 1]
    if not varied or codes.shape[1] == 0:
        return None
    gaps = [_gap(codes, factors[:, k], max(FEWEST_BINS, sizes[k])) for k in varied]
    return float(np.mean(gaps))


def _gap(codes: NDArray[np.float64], values: NDArray[np.int64], bins: int) -> float:
    told = sorted([0.0, *(informativeness(bins_of(latent, bins), values) for latent in codes.T)])
    return told[-1] - told[-2]


def informativeness(labels: NDArray[np.int64], values: NDArray[np.int64]) -> float:
    """The share of a factor's entropy that the labels tell, adjusted for chance.

    ``(I - E) / (H - E)``, not below 0: I the mutual information of the empirical joint
    distribution, H the factor's entropy, E the expectation of I when the pairs are dealt at random
    (Vinh, Epps, Bailey 2010, https://jmlr.org/papers/v11/vinh10a.html). The plain I / H of a finite
    sample is too large where a latent tells little (by E / H: 0.22 for the 40 orientations of 1000
    sprites in 40 bins) and right where it tells all, so that a perfect code would not score 1.
    As n grows, E vanishes.

    Args:
        labels: Of the latent, such as its bins, [n].
        values: Of the factor, [n].
    """
    from sklearn.metrics.cluster import expected_mutual_information

    table = _contingency(labels, values)
    entropy = _entropy(table.sum(axis=0))
    known = entropy + _entropy(table.sum(axis=1)) - _entropy(table.ravel())
    by_chance = float(expected_mutual_information(table, len(values)))
    if entropy - by_chance < _LEAST_ENTROPY:
        return 0.0
    return float(np.clip((known - by_chance) / (entropy - by_chance), 0, 1))


def bins_of(latent: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each value, [n]: `bins` of equal width from the smallest value to the largest."""
    low, high = latent.min(), latent.max()
    if high == low:
        return np.zeros(len(latent), np.int64)
    place = (latent - low) / (high - low)
    inside: NDArray[np.float64] = np.minimum(place * bins, bins - 1)
    return inside.astype(np.int64)


def _contingency(labels: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many examples have each label and value, [labels, values], without empty lines."""
    _, rows = np.unique(labels, return_inverse=True)
    _, columns = np.unique(values, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1), np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def _entropy(counts: NDArray[np.int64]) -> float:
    """Of the empirical distribution, nats."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
