"""How many trials a worker trains at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, final

from studies.records import WorkerRecord
from sweeps.spec import Spec
from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet
from vae_models.placement import best_pack

__all__ = ["PackChoice", "choose_pack", "measured_pack"]

_SHAPE: Final = ("family", "hidden", "posterior", "likelihood")

_SAME: Final = ("hardware", "threads", "precision")
"""What decides how fast a pack of each size is, beside the study itself."""


@final
@dataclass(frozen=True, kw_only=True)
class PackChoice:
    """A size, and why.

    Attributes:
        size: How many trials.
        timings: Seconds per step of all trials together, by size; empty where nothing was measured.
    """

    size: int
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def versions(self) -> dict[str, Any]:
        """What a worker's record says of it."""
        measured = {"size": self.size, "timings": dict(self.timings)}
        known = {"pack": "packed" if self.size > 1 else "lone", "slots": self.size}
        return known | ({"pack_timings": measured} if self.timings else {})


def measured_pack(spec: Spec, data: DataSet, device: str, precision: str) -> PackChoice:
    """The size that gets most trials done, measured with the largest network of the spec.

    Args:
        spec: Of the study.
        data: What its trials train on.
        device: Where.
        precision: Of the trainer.
    """
    largest = {name: spec.settings[name].bounds[-1] for name in _SHAPE}
    batch_size = int(str(spec.settings["batch_size"].bounds[-1]))
    model = ModelConfig(**{**largest, "latent_dim": spec.largest_latent_dim})  # type: ignore[arg-type]
    found = best_pack(
        TrialConfig(model=model, train=TrainConfig(batch_size=batch_size)),
        data,
        device=device,
        most=spec.study.trials,
        precision=precision,
        largest_latent_dim=spec.largest_latent_dim,
    )
    timings = {str(timing.size): timing.seconds_per_step for timing in found.timings}
    return PackChoice(size=found.size, timings=timings)


def choose_pack(
    wanted: int | Literal["auto"],
    device: str,
    versions: Mapping[str, Any],
    workers: Sequence[WorkerRecord],
    measure: Callable[[], PackChoice] = lambda: PackChoice(size=1),
) -> PackChoice:
    """What the spec says; of "auto", what was measured: by an earlier worker like this, or here.

    Args:
        wanted: As in a spec.
        device: Where this worker trains.
        versions: Of this process.
        workers: Those that the study has or had.
        measure: Finds the size that gets most done; not asked on the CPU, where one trial at a
            time is as fast.
    """
    if wanted != "auto":
        return PackChoice(size=wanted)
    kind = device.partition(":")[0]
    if kind == "cpu":
        return PackChoice(size=1)
    for worker in reversed(workers):
        stored = worker.versions.get("pack_timings")
        same = all(worker.versions.get(name) == versions[name] for name in _SAME)
        if stored and same and worker.device.partition(":")[0] == kind:
            return PackChoice(size=int(stored["size"]), timings=stored["timings"])
    return measure()
