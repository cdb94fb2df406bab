"""An annealing that never comes to the full weight is told before and noted after the training."""

from typing import Any

import pytest

from rdsweep_command import Rdsweep
from studies.database import open_database
from studies.queries import query_trials
from sweeps.annealing_end import annealing_note, unfinished_annealings
from sweeps.spec import Spec
from vae_models.config import TrialConfig

EXAMPLES = 1000


def note(epochs: int = 10, batch: int = 100, **objective: Any) -> str | None:
    train = {"epochs": epochs, "batch_size": batch}
    return annealing_note(
        TrialConfig.from_dict({"objective": objective, "train": train}), EXAMPLES
    )


def told(space: dict[str, Any] | None = None, **objective: Any) -> list[str]:
    study, data = {"name": "a"}, {"name": "digits"}
    train = {"epochs": 10, "batch_size": 100}
    document = {"study": study, "data": data, "train": train, "objective": objective}
    return list(
        unfinished_annealings(Spec.from_dict({**document, "space": space or {}}), EXAMPLES)
    )


UNFINISHED = {
    "a warm-up longer than the training": (
        {"annealing": "linear", "annealing_unit": "step", "warmup": 396, "beta": 4.0},
        "0.25",
        "the beta in force at the end was 1",
    ),
    "cycles of a single epoch": (
        {"annealing": "cyclical", "annealing_unit": "epoch", "cycles": 10},
        "0",
        "the beta in force at the end was 0",
    ),
    "a last weight below one": (
        {"annealing": "stepwise", "milestones": [0.0, 0.5], "milestone_weights": [0.1, 0.3]},
        "0.3",
        "the beta in force at the end was 0.3",
    ),
    "a capacity": (
        {
            "regulariser": "capacity",
            "capacity_nats": 20,
            "annealing": "stepwise",
            "milestones": [0.0],
            "milestone_weights": [0.5],
        },
        "0.5",
        "the capacity in force at the end was 10 nats",
    ),
    "a discrepancy": (
        {
            "regulariser": "wae_mmd",
            "mmd_weight": 8,
            "annealing": "stepwise",
            "milestones": [0.0],
            "milestone_weights": [0.5],
        },
        "0.5",
        "the weight of the MMD in force at the end was 4",
    ),
}


@pytest.mark.parametrize(("objective", "share", "in_force"), UNFINISHED.values(), ids=UNFINISHED)
def test_the_weight_that_was_reached_is_named(
    objective: dict[str, Any], share: str, in_force: str
) -> None:
    expected = f"The annealing ended at {share} of the full weight: {in_force}."
    assert note(**objective) == expected
    (before,) = told(**objective)
    assert f"ends the training at {share} of the full weight" in before
    assert before.startswith(f"objective.annealing: {objective['annealing']!r}")


def test_a_target_has_no_beta_to_name() -> None:
    steps: dict[str, Any] = {
        "annealing": "stepwise",
        "milestones": [0.0],
        "milestone_weights": [0.5],
    }
    expected = "The annealing ended at 0.5 of the full weight."
    assert note(regulariser="geco", target_se=3.0, **steps) == expected


@pytest.mark.parametrize(
    "objective",
    [
        {},
        *({"annealing": name} for name in ("linear", "cosine", "sigmoid", "cyclical", "delayed")),
        {"annealing": "linear", "annealing_unit": "step", "warmup": 50},
        {"annealing": "stepwise", "milestones": [0.5], "milestone_weights": [1.0]},
    ],
)
def test_nothing_is_said_of_an_annealing_that_ends(objective: dict[str, Any]) -> None:
    assert note(**objective) is None
    assert told(**objective) == []


def test_a_batch_is_no_larger_than_the_training_split() -> None:
    """One step an epoch: ten in all, the last of which is the tenth."""
    steps: dict[str, Any] = {"annealing": "linear", "annealing_unit": "step", "warmup": 90}
    found = note(batch=4096, **steps)
    assert found is not None
    assert "ended at 0.1 of" in found


def test_of_a_search_the_least_is_told_and_that_not_all_are_meant() -> None:
    (found,) = told(
        {"warmup": {"low": 10, "high": 198}}, annealing="linear", annealing_unit="step"
    )
    assert "'linear' ends some trials at 0.5 of the full weight" in found


def test_it_is_shown_before_training_and_kept_with_the_trial(rdsweep: Rdsweep) -> None:
    spec = str(rdsweep.write_spec(epochs=1))
    options = ("study.trials=1", "objective.annealing=cyclical", "objective.cycles=1")
    unit = ("objective.annealing_unit=epoch", "objective.beta=2.0", "objective.reduction=sum")
    overrides = [part for line in (*options, *unit) for part in ("--set", line)]
    assert "ends the training at 0 of" in rdsweep("suggest", spec, *overrides).stderr
    assert "ends the training at 0 of" in rdsweep("run", spec, "--no-report", *overrides).stderr
    (trial,) = query_trials(open_database(rdsweep.url), "small")
    expected = "The annealing ended at 0 of the full weight: the beta in force at the end was 0."
    assert expected in (trial.notes or ())
