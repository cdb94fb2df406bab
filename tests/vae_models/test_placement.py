"""The size of a pack: measured on the device, by a rule that can be read off the timings."""

import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest

from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig
from vae_models.pack_memory import bytes_per_trial
from vae_models.placement import PackTiming, best_pack, worthwhile_size


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load_data(DataConfig(name="digits"))


def _trial() -> TrialConfig:
    return TrialConfig(
        model=ModelConfig(hidden=(16,), latent_dim=2), train=TrainConfig(batch_size=32)
    )


def test_sizes_double_from_one_to_the_most_that_is_asked_for(digits: DataSet) -> None:
    choice = best_pack(_trial(), digits, device="cpu", most=5, largest_latent_dim=4)
    assert [timing.size for timing in choice.timings] == [1, 2, 4][: len(choice.timings)]
    assert choice.size in [timing.size for timing in choice.timings]
    assert all(timing.seconds_per_step > 0 for timing in choice.timings)
    whole = len(choice.timings) == 3
    assert whole or choice.stopped_by == "no gain from larger sizes"


def test_at_most_one_is_one(digits: DataSet) -> None:
    choice = best_pack(_trial(), digits, device="cpu", most=1)
    assert (choice.size, choice.stopped_by) == (1, "the most that was asked for")


@pytest.mark.parametrize(
    ("seconds", "size"),
    [
        ([1.0], 1),
        ([1.0, 1.0, 1.0, 1.5, 3.0], 8),
        ([1.0, 1.8, 3.4], 4),
        ([1.0, 1.9, 3.7], 1),
        ([1.0, 2.5], 1),
    ],
)
def test_trials_stay_alone_unless_a_pack_gains_15_percent(
    seconds: Sequence[float], size: int
) -> None:
    timings = [
        PackTiming(size=2**place, seconds_per_step=each) for place, each in enumerate(seconds)
    ]
    assert worthwhile_size(timings) == size


_PEAK = """
import sys
import torch
from vae_models.config import ModelConfig, TrainConfig, TrialConfig
from vae_models.data import load_data
from vae_models.data_config import DataConfig
from vae_models.trainer import Trainer

torch.set_num_threads(1)
data = load_data(DataConfig(name="digits", train_limit=256, heldout_limit=10))
count, family, width = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
trials = [
    TrialConfig(
        model=ModelConfig(family=family, hidden=(width,), latent_dim=8),
        train=TrainConfig(batch_size=128, epochs=1, seed=seed),
    )
    for seed in range(count)
]
for _ in Trainer(trials, data):
    pass
# not getrusage: its peak is at least that of the process that started this one
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024)
"""


def _peak(count: int, family: str, width: int) -> int:
    command = [sys.executable, "-c", textwrap.dedent(_PEAK), str(count), family, str(width)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(ended.stdout)


@pytest.mark.parametrize(("family", "width"), [("mlp", 12_000), ("conv", 1)])
def test_the_estimate_is_what_a_trial_more_takes(digits: DataSet, family: str, width: int) -> None:
    """Between packs of 2 and of 10, in processes of their own; the peak is the system's word."""
    trial = TrialConfig(
        model=ModelConfig(family=family, hidden=(width,), latent_dim=8),
        train=TrainConfig(batch_size=128),
    )
    measured = (_peak(10, family, width) - _peak(2, family, width)) / 8
    assert 0.5 < bytes_per_trial(trial, digits) / measured < 2
