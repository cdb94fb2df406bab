"""A finished trial, trained again from what is stored; nothing is written to the database."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, final

from studies.records import EpochRecord, EvaluationRecord, LatentRecord
from sweeps.measurement import divergence_after, measure
from sweeps.outcome_records import epoch_record
from sweeps.reused_results import taken_over
from vae_models.config import TrialConfig
from vae_models.data import DataSet
from vae_models.errors import NonFiniteError
from vae_models.evaluation_config import EvaluationConfig
from vae_models.trainer import Diverged, Trainer

__all__ = ["Ending", "Rerun"]


@final
@dataclass(frozen=True, kw_only=True)
class Ending:
    """What a trial came to.

    Attributes:
        state: "complete" or "diverged".
        error: where it diverged.
        epochs: its epochs, ascending.
        metrics: of a complete trial.
        latents: of a complete trial.
    """

    state: Literal["complete", "diverged"]
    error: str | None
    epochs: Sequence[EpochRecord]
    metrics: EvaluationRecord | None
    latents: Sequence[LatentRecord]


@final
class Rerun:
    """Trains on iteration, and yields the epochs as they end; then `ending` is there.

    Args:
        config: The settings to train with.
        data: The data, on any device.
        device: Where to train.
        wanted: What to measure in the end.
        reused_by: Settings of the trial that took the results over; None for the trial itself.
        precision: Of the matrix products.
        packed: Whether to train as in a pack, which rounds otherwise than alone.
        largest_latent_dim: The most latents of a trial in that pack.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: DataSet,
        device: str,
        wanted: EvaluationConfig,
        reused_by: TrialConfig | None = None,
        *,
        precision: str = "float32",
        packed: bool = False,
        largest_latent_dim: int | None = None,
    ) -> None:
        self._config = config
        self._data = data.to(device)
        self._device = device
        self._wanted = wanted
        self._reused_by = reused_by
        self._precision = precision
        self._slots = 2 if packed else 1
        self._largest_latent_dim = largest_latent_dim
        self._epochs: list[EpochRecord] = []
        self._ending: Ending | None = None

    @property
    def epochs(self) -> int:
        """How many epochs it trains."""
        return self._config.train.epochs

    @property
    def ending(self) -> Ending:
        """What it came to.

        Raises:
            RuntimeError: It has not been trained to its end yet.
        """
        if self._ending is None:
            raise RuntimeError("`for epoch in rerun` must end before its ending is there.")
        return self._ending

    def __iter__(self) -> Iterator[EpochRecord]:
        """Trains from the start to the end."""
        self._epochs.clear()
        trainer = Trainer(
            [self._config],
            self._data,
            device=self._device,
            slots=self._slots,
            precision=self._precision,
            largest_latent_dim=self._largest_latent_dim,
        )
        for result in trainer:
            if isinstance(result, Diverged):
                self._ending = self._diverged(result.message)
                return
            self._epochs.append(epoch_record(result))
            yield self._epochs[-1]
        self._ending = self._measured(trainer)

    def _diverged(self, message: str) -> Ending:
        return Ending(
            state="diverged", error=message, epochs=self._epochs, metrics=None, latents=()
        )

    def _measured(self, trainer: Trainer) -> Ending:
        trained = trainer.checkpoint(0)
        try:
            found = measure(trainer.model(0), trained, self._data, self._config, self._wanted)
        except NonFiniteError as error:
            return self._diverged(divergence_after(trained, error))
        metrics = found.metrics
        if self._reused_by is not None:
            pixels, examples = self._data.pixels, len(self._data.train)
            metrics = taken_over(metrics, self._config, self._reused_by, pixels, examples)
        return Ending(
            state="complete",
            error=None,
            epochs=self._epochs,
            metrics=metrics,
            latents=found.latents,
        )
