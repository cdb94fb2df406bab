"""Which latents agree between examples that share one factor: the beta-VAE score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_models.factor_samples import FactorSamples

__all__ = ["betavae_score"]

_MOST_ITERATIONS = 1000


def betavae_score(codes: Sequence[NDArray[np.float64]], samples: Sequence[FactorSamples]) -> float:
    """Accuracy of a linear classifier that tells the fixed factor from mean differences.

    Its features are ``mean_l |z_l - z'_l|`` over L pairs of examples that share the value of one
    factor, its class is that factor. It is scored on the pairs of other examples. Chance is 1/F.

    Reference: I. Higgins et al., beta-VAE (2017), https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        codes: To learn from and to be scored on, each [n, M], in units of the latents' standard
            deviations (the classifier's regularisation needs a scale), zero where collapsed.
        samples: Sets from the examples of each.
    """
    from sklearn.linear_model import LogisticRegression

    features = [
        sample.describe(z, _mean_difference) for z, sample in zip(codes, samples, strict=True)
    ]
    classifier = LogisticRegression(max_iter=_MOST_ITERATIONS)
    classifier.fit(features[0], samples[0].fixed)
    return float(np.mean(classifier.predict(features[1]) == samples[1].fixed))


def _mean_difference(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.abs(first - second).mean(axis=1)
    return mean
