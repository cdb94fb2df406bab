"""How much is measured of a trained model on held-out data. Free of torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, final

from vae_models.config_checks import check_integer
from vae_models.errors import ConfigError

__all__ = ["EvaluationConfig"]


@final
@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What the evaluation of a finished trial spends; nothing here changes the training.

    Attributes:
        samples: Draws of z per held-out example for R and D.
        iwae_samples: k, the draws per example of the IWAE bound; 0 for none.
        diagnostic_examples: Held-out examples for the IWAE bound, the mutual information and the
            total correlation: evenly spaced over the split, all of them if there are fewer; 0 for
            none of these.
        disentanglement: Whether the scores of disentanglement are computed where the data's
            factors are known.
    """

    samples: int = 1
    iwae_samples: int = 64
    diagnostic_examples: int = 1000
    disentanglement: bool = True

    def __post_init__(self) -> None:
        check_integer(self, "samples", low=1)
        check_integer(self, "iwae_samples", low=0)
        check_integer(self, "diagnostic_examples", low=0)
        if self.diagnostic_examples == 1:
            raise ConfigError.unmet(
                "diagnostic_examples == 0 or diagnostic_examples >= 2",
                "EvaluationConfig (one example has no standard error)",
                diagnostic_examples=1,
            )
        if not isinstance(self.disentanglement, bool):
            raise ConfigError(
                "`disentanglement` must be true or false, "
                f"but got disentanglement={self.disentanglement!r}."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as a dictionary that JSON can hold; inverts `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The settings in a dictionary; what is left out takes its default.

        Raises:
            ConfigError: A key is unknown, or a value is one that no evaluation can have.
        """
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise ConfigError.unknown("A key of evaluation", key, known)
        return cls(**given)
