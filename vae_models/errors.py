"""The errors of this package: each states what must hold, then what was got."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Self

__all__ = ["CheckpointError", "ConfigError", "DataError", "NonFiniteError", "VaeModelsError"]


class VaeModelsError(Exception):
    """Base class of everything that `vae_models` raises on purpose."""

    @classmethod
    def unmet(cls, condition: str, subject: str, **got: object) -> Self:
        """An error that says which condition must hold for what, and what was got instead.

        Args:
            condition: An expression over the names in `got`, such as ``sigma2 > 0``.
            subject: What the condition is for, such as ``a Gaussian decoder``.
            **got: The offending values by name.
        """
        values = ", ".join(f"{name}={value!r}" for name, value in got.items())
        return cls(f"`{condition}` must hold for {subject}, but got {values}.")


class ConfigError(VaeModelsError):
    """A setting that no model, objective or training can have."""

    @classmethod
    def unknown(cls, field: str, got: object, known: Sequence[str]) -> Self:
        """An error for a name that is none of the known ones, with the nearest of them."""
        near = get_close_matches(str(got).lower(), known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        names = ", ".join(repr(name) for name in known)
        return cls(f"{field} must be one of {names}, but got {got!r}.{hint}")


class DataError(VaeModelsError):
    """A data set that is missing, unreadable or unfit for the model."""


class CheckpointError(VaeModelsError):
    """A checkpoint file that is torn, foreign, or belongs to another trial."""


class NonFiniteError(VaeModelsError):
    """A model whose held-out rate or distortion is NaN or infinite: it diverged unnoticed."""


class VaeModelsWarning(UserWarning):
    """Something that the user should know of, and that stops nothing."""
