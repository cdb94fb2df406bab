"""Which latent varies least while one factor is held fixed: the FactorVAE score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_models.factor_samples import FactorSamples

__all__ = ["factorvae_score"]


def factorvae_score(
    codes: Sequence[NDArray[np.float64]], samples: Sequence[FactorSamples]
) -> float:
    """Accuracy of telling the fixed factor from the latent of least variance.

    A set of examples that share the value of one factor votes for the latent whose variance
    within the set is least. The classifier of Kim & Mnih learns for each latent the factor that
    was fixed most often when it won, and is scored on the votes of other examples. Chance is 1/F.

    Reference: H. Kim, A. Mnih, Disentangling by Factorising (2018),
    https://arxiv.org/abs/1802.05983.

    Args:
        codes: To learn from and to be scored on, each [n, M], in units of the latents' standard
            deviations; a column of zeros is a collapsed latent, which never wins.
        samples: Sets from the examples of each.
    """
    factors = 1 + max(int(sample.fixed.max()) for sample in samples)
    winners = [_steadiest(z, sample) for z, sample in zip(codes, samples, strict=True)]
    votes = np.zeros((codes[0].shape[1], factors), np.int64)
    np.add.at(votes, (winners[0], samples[0].fixed), 1)
    told = votes.argmax(axis=1)[winners[1]]
    return float(np.mean(told == samples[1].fixed))


def _steadiest(codes: NDArray[np.float64], sample: FactorSamples) -> NDArray[np.int64]:
    """The latent of least variance in each set, [sets]; the first if all have collapsed."""
    variances = sample.describe(codes, lambda first, _: first.var(axis=1))
    variances[:, ~codes.any(axis=0)] = np.inf
    winners: NDArray[np.int64] = variances.argmin(axis=1)
    return winners
