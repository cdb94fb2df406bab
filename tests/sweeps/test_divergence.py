"""Samplers that learn stay away from where training diverges."""

from pathlib import Path

import pytest

from studies.records import Lease, TrialRecord
from toy_sweeps import BETA, Outcome, ToySweep

SPACE = {"beta": BETA, "learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}


def diverges(trial: Lease | TrialRecord) -> bool:
    """Three trials in ten of a random search."""
    return bool(trial.config["train"]["learning_rate"] > 10**-2.2)


def towards_the_cliff(lease: Lease) -> Outcome:
    """Both objectives get better up to the very learning rate at which training diverges."""
    if diverges(lease):
        return None
    beta, rate = lease.config["objective"]["beta"], lease.config["train"]["learning_rate"]
    return 1 / (1 + beta) + 1e-3 / rate, beta / (1 + beta) + 1e-3 / rate


def share_of_divergence(sweep: ToySweep) -> float:
    """Among the later half of the trials."""
    trials = sweep.trials()
    later = trials[len(trials) // 2 :]
    return sum(map(diverges, later)) / len(later)


def drive_telling_failures(sweep: ToySweep) -> None:
    """The same as `ToySweep.drive`, but a divergence is recorded, and so told, as a failure."""
    desk = sweep.desk()
    while True:
        lease = sweep.take()
        if lease is None:
            if not desk.refill(1).queued:
                return
        elif diverges(lease):
            sweep.fail(lease)
        else:
            sweep.finish(lease, towards_the_cliff(lease))


@pytest.mark.parametrize(("sampler", "trials"), [("tpe", 60), ("gp", 26)])
def test_a_model_avoids_what_diverged_and_goes_back_to_what_merely_failed(
    tmp_path: Path, sampler: str, trials: int
) -> None:
    learns, forgets = (
        ToySweep.create(tmp_path / name, SPACE, sampler=sampler, trials=trials) for name in "ab"
    )
    learns.drive(towards_the_cliff)
    drive_telling_failures(forgets)
    assert share_of_divergence(learns) < 0.3
    assert share_of_divergence(learns) < 0.6 * share_of_divergence(forgets)


def test_nsga2_breeds_from_what_did_not_diverge(tmp_path: Path) -> None:
    # Only trials that ended well become parents, so that it avoids failures just as well.
    sweep = ToySweep.create(tmp_path, SPACE, sampler="nsga2", trials=80)
    sweep.drive(towards_the_cliff)
    assert share_of_divergence(sweep) < 0.2
