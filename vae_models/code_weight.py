"""A KL weight as it stands in somebody's code, with all that its meaning depends on."""

from dataclasses import dataclass
from typing import ClassVar, final

from vae_models.config import LIKELIHOODS
from vae_models.config_checks import check_choice, check_integer, check_number
from vae_models.errors import ConfigError
from vae_models.likelihood_kinds import MSE_SIGMA2, UNIT_INTERVAL_LIKELIHOODS
from vae_models.objective import BATCH_REDUCTIONS, REDUCTIONS

__all__ = ["ADAPTIVE_LIKELIHOODS", "SQUARED_ERROR_LIKELIHOODS", "CodeWeight"]

SQUARED_ERROR_LIKELIHOODS = ("gaussian", "mse")
"""Likelihoods whose error term is a squared error over a fixed variance."""

ADAPTIVE_LIKELIHOODS = ("gaussian_learned", "gaussian_optimal", "gaussian_pixel")
"""Gaussian likelihoods whose variance follows from the training."""

_LARGEST_SIZE = 2**53  # every whole number up to here is a float


@final
@dataclass(frozen=True, kw_only=True)
class CodeWeight:
    """A raw KL weight and the loss that it stands in.

    Attributes:
        reduction: One of `vae_models.objective.REDUCTIONS`.
        weight: b, the factor before the KL.
        pixels: N = C·H·W.
        latents: M.
        likelihood: One of `vae_models.config.LIKELIHOODS`.
        sigma2: The variance by which the code divides its squared error; None if it does not.
        half: Whether the code halves its squared error.
        data_scale: a, where the model sees a·x instead of x.
        batch: B; None if it is not known.
    """

    described_as: ClassVar[str] = "a KL weight"

    reduction: str
    weight: float
    pixels: int
    latents: int
    likelihood: str
    sigma2: float | None
    half: bool
    data_scale: float
    batch: int | None

    def __post_init__(self) -> None:
        check_choice(self, "reduction", REDUCTIONS)
        check_choice(self, "likelihood", LIKELIHOODS)
        check_number(self, "weight", low=0.0)
        check_integer(self, "pixels", low=1, high=_LARGEST_SIZE)
        check_integer(self, "latents", low=1, high=_LARGEST_SIZE)
        check_integer(self, "batch", low=1, high=_LARGEST_SIZE, optional=True)
        check_number(self, "sigma2", low=0.0, open_low=True, optional=True)
        check_number(self, "data_scale", low=0.0, open_low=True)
        self._refuse_missing_batch()
        self._refuse_idle_sigma2()
        self._refuse_idle_half()
        self._refuse_scaled_probabilities()

    @property
    def implied_sigma2(self) -> float | None:
        """The variance of the Gaussian decoder with this error term; None if none is fixed."""
        if self.likelihood not in SQUARED_ERROR_LIKELIHOODS:
            return None
        if self.sigma2 is not None:
            return self.sigma2
        return 1.0 if self.half else MSE_SIGMA2

    def _refuse_missing_batch(self) -> None:
        if self.batch is None and self.reduction in BATCH_REDUCTIONS:
            raise ConfigError(
                f"`batch` must be given with reduction={self.reduction!r}, in which the batch "
                "size is a part of the KL's weight, but got none."
            )

    def _refuse_idle_sigma2(self) -> None:
        if self.sigma2 is None or self.likelihood in SQUARED_ERROR_LIKELIHOODS:
            return
        why = "finds its own" if self.likelihood in ADAPTIVE_LIKELIHOODS else "has none"
        raise ConfigError(
            "`sigma2` is the fixed variance of likelihood 'gaussian' and must be left out with "
            f"likelihood={self.likelihood!r}, which {why}, but got sigma2={self.sigma2!r}."
        )

    def _refuse_idle_half(self) -> None:
        if not isinstance(self.half, bool):
            raise ConfigError(f"`half` must be true or false, but got half={self.half!r}.")
        halved = (*SQUARED_ERROR_LIKELIHOODS, *ADAPTIVE_LIKELIHOODS)
        if self.half and self.likelihood not in halved:
            raise ConfigError(
                "`half` stands before a squared error and must be left out with "
                f"likelihood={self.likelihood!r}, which has none, but got half=True."
            )

    def _refuse_scaled_probabilities(self) -> None:
        if self.data_scale != 1 and self.likelihood in UNIT_INTERVAL_LIKELIHOODS:
            raise ConfigError.unmet(
                "data_scale == 1",
                f"likelihood {self.likelihood!r}, whose pixels lie between 0 and 1",
                data_scale=self.data_scale,
            )
