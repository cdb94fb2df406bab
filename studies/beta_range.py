"""Which β are worth a search, told from the data's spectrum before anything is trained.

The linear β-VAE of `studies.linear_vae` says where latents die and where all have collapsed. A
deeper one uses its latents better, but under squared error its KL vanishes near the same β.

References:
    J. Lucas et al. 2019, "Don't blame the ELBO!", https://arxiv.org/abs/1911.02469; A. Alemi et al.
    2018, "Fixing a broken ELBO", https://arxiv.org/abs/1711.00464.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike

from studies.linear_vae import beta_at_level, death_betas
from studies.rate_distortion import (
    Array,
    active_count,
    level_at_rate,
    require_latents,
    require_positive,
    spectrum_of,
)

SETTLED: Final = 0.01
"""Share of the variance below which the error of the latents themselves is not worth a search."""


@final
@dataclass(frozen=True, kw_only=True)
class BetaRange:
    """Canonical β that cover the rate–distortion curve of some data, from end to end.

    Attributes:
        low: Where the wanted rate is reached, or further bits would not help. It is `high` only
            where a learned σ² meets data of equal variance in all directions, of which it
            codes everything or nothing.
        high: Where the rate reaches zero: `collapse`.
        first_death: Where the first of the latents dies.
        collapse: Where the last one dies: λ₁/σ², or λ₁/mean λ where σ² is learned.
        latents: How many are in use at `low`; more would change nothing in this range.
    """

    low: float
    high: float
    first_death: float
    collapse: float
    latents: int


def suggest_range(
    spectrum: ArrayLike, *, sigma2: float | None, rate_nats: float, latents: int | None = None
) -> BetaRange:
    """Return the range of β that covers the curve of a linear VAE on these data.

    It ends below where the rate reaches `rate_nats`; with few latents earlier, where all of them
    are in use and their own error, Mt, has fallen to `SETTLED` of the variance: what is left is
    the error of the directions that no latent codes.

    Args:
        spectrum: Covariance eigenvalues of the data, one for each of the N pixels.
        sigma2: Fixed variance of the Gaussian decoder (1/2 for a plain squared error); None if it
            is learned, or optimal in each batch.
        rate_nats: The highest rate of interest, as a study's reference.
        latents: M, where it is fixed or has a maximum; without it, as many as are of use.

    Raises:
        ValueError: If the data are constant, or a number is out of its range.
    """
    values = spectrum_of(spectrum)
    rate = require_positive("rate_nats", rate_nats)
    level = max(level_at_rate(values, rate, latents), _settled_level(values, latents))
    used = active_count(values, level, latents)
    deaths = death_betas(values, sigma2)
    collapse = float(deaths[0])
    return BetaRange(
        low=min(beta_at_level(values, level, sigma2, latents), collapse),
        high=collapse,
        first_death=min(float(deaths[min(latents or used, deaths.size) - 1]), collapse),
        collapse=collapse,
        latents=used,
    )


def _settled_level(values: Array, latents: int | None) -> float:
    """Return the level at which M latents are all in use and code all they can but a little."""
    alive = int(np.count_nonzero(values))
    if latents is None or require_latents(latents) > alive:
        return 0.0
    return min(float(values[latents - 1]), SETTLED * float(values.sum()) / latents)
