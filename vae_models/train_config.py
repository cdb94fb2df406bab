"""How long and how fast a trial trains."""

from dataclasses import dataclass

from vae_models.config_checks import check_choice, check_integer, check_number

__all__ = ["LR_SCHEDULES", "TrainConfig"]

LR_SCHEDULES = ("constant", "cosine")

_LARGEST_SEED = 2**63 - 1  # what a torch.Generator takes and a BIGINT column holds


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast a trial trains.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Examples per step; at most the training split.
        learning_rate: Adam's step size.
        lr_schedule: ``constant``, or ``cosine`` (to zero over the whole training).
        seed: Of the weights, the order of the data and the noise.
    """

    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 1e-3
    lr_schedule: str = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer(self, "epochs", low=1)
        check_integer(self, "batch_size", low=1)
        check_number(self, "learning_rate", low=0.0, open_low=True)
        check_choice(self, "lr_schedule", LR_SCHEDULES)
        check_integer(self, "seed", low=0, high=_LARGEST_SEED)
