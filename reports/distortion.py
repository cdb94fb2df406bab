"""The distortion of a study, as its figures and tables name it."""

import math
from dataclasses import dataclass
from typing import Final, final

from studies.records import TrialRecord


@final
@dataclass(frozen=True, kw_only=True)
class DistortionMeasure:
    """One kind of distortion: its key in the record, its unit and the words on an axis."""

    kind: str
    symbol: str
    unit: str
    axis_label: str
    long_name: str

    def of(self, trial: TrialRecord) -> float | None:
        """Returns the trial's held-out distortion, or None where there is no finite one."""
        value = trial.distortion_nll_nats if self.kind == "nll" else trial.distortion_se
        return value if value is not None and math.isfinite(value) else None

    def error_of(self, trial: TrialRecord) -> float | None:
        """Returns the standard error of that distortion over the held-out examples."""
        if self.kind == "nll":
            return trial.distortion_nll_stderr_nats
        return trial.distortion_se_stderr


_SQUARED_ERROR: Final = DistortionMeasure(
    kind="se",
    symbol="D (SE)",
    unit="squared error",
    axis_label="distortion D (squared error per example)",
    long_name="squared error of z ~ q(z|x), summed over the pixels of an example",
)
_NEGATIVE_LOG_LIKELIHOOD: Final = DistortionMeasure(
    kind="nll",
    symbol="D (NLL)",
    unit="nats",
    axis_label="distortion D = −log p(x|z) (nats per example)",
    long_name="negative log-likelihood of z ~ q(z|x), in nats per example",
)
RATE_LABEL: Final = "rate R (nats per example)"


def measure_named(kind: str) -> DistortionMeasure:
    """Returns the distortion of a study by its key, ``"se"`` or ``"nll"``.

    Raises:
        ValueError: The key is neither.
    """
    for distortion in (_SQUARED_ERROR, _NEGATIVE_LOG_LIKELIHOOD):
        if distortion.kind == kind:
            return distortion
    raise ValueError(f"A study's distortion must be 'se' or 'nll', but got {kind!r}.")
