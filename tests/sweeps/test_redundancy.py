"""What a spec searches twice is told, and nothing else is."""

from collections import Counter
from typing import Any

import pytest
from optuna.trial import FixedTrial

from sweeps.equivalence import equivalence_of
from sweeps.listed_models import ListedModels
from sweeps.redundancy import redundancies
from sweeps.space import Space
from sweeps.spec import Spec

BETA = {"low": 0.1, "high": 10, "log": True}
RAW = {**BETA, "unit": "raw"}
LISTED = {"choices": [0.1, 1.0], "unit": "raw"}


def notes(space: dict[str, Any], *, dedupe: bool = False, **sections: dict[str, Any]) -> list[str]:
    study = {"name": "a", "dedupe": dedupe}
    spec = Spec.from_dict({"study": study, "data": {"name": "digits"}, "space": space, **sections})
    return redundancies(spec, Space(spec, 64))


@pytest.mark.parametrize(
    ("space", "part"),
    [
        ({"reduction": ["sum", "mean"]}, "2 values, and beta is canonical: each is an overall"),
        ({"reduction": ["sum", "mean"], "beta": BETA}, "only through its epsilon"),
        (
            {"reduction": ["sum", "mean"], "beta": {**BETA, "unit": "beta_norm"}},
            "beta is normalised",
        ),
        (
            {"reduction": ["sum", "mean"], "regulariser": ["capacity", "wae_mmd"]},
            "space.reduction has 2 values: each is",
        ),
        ({"reduction": ["sum", "mean"], "beta": RAW}, "in unit canonical instead"),
        (
            {"reduction": ["sum", "mean", "batch_sum"], "beta": {"value": 0.1, "unit": "raw"}},
            "has 'sum' and 'batch_sum'",
        ),
        ({"sigma2": [0.1, 1.0], "beta": BETA}, "only t = beta sigma2 counts"),
        (
            {"sigma2": [0.1, 1.0], "gamma": BETA, "regulariser": ["capacity"]},
            "space.gamma are both searched: with a fixed Gaussian variance only the product gamma",
        ),
        (
            {"sigma2": [0.1, 1.0], "mmd_weight": BETA, "regulariser": ["wae_mmd"]},
            "only the product mmd_weight sigma2 counts",
        ),
        (
            {"likelihood": ["gaussian", "mse"], "beta": BETA},
            "the second is the first with sigma2 = 1/2",
        ),
        ({"likelihood": ["bernoulli", "bce"], "beta": BETA}, "they are the same loss"),
    ],
)
def test_what_is_one_objective_up_to_scale_is_told(space: dict[str, Any], part: str) -> None:
    (note,) = notes(space)
    assert part in note
    assert note.endswith(".")
    assert "\n" not in note


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"beta": BETA, "latent_dim": [2, 4]},
        {"reduction": ["sum"], "beta": RAW},
        {"reduction": ["sum", "mean"], "beta": {"value": 0.1, "unit": "raw"}},
        {"sigma2": [0.1, 1.0]},
        {"sigma2": [0.5], "beta": BETA},
        {"sigma2": [0.1, 1.0], "beta": BETA, "likelihood": ["gaussian_learned"]},
        {"likelihood": ["mse", "bernoulli"], "beta": BETA},
    ],
)
def test_what_differs_is_not(space: dict[str, Any]) -> None:
    assert notes(space) == []


@pytest.mark.parametrize(
    ("space", "share"),
    [
        ({"reduction": ["sum", "mean"]}, "2 of 2"),
        ({"reduction": ["sum", "mean"], "beta": {"choices": [1.0, 2.0], "unit": "raw"}}, None),
        (
            {"reduction": ["sum", "mean"], "beta": {"choices": [0.5, 2.0], "unit": "raw"}},
            "2 of 4",
        ),
        ({"sigma2": [0.1, 1.0], "beta": [0.1, 1.0]}, "2 of 4"),
        ({"sigma2": [0.1, 1.0], "beta": [0.2, 1.0]}, None),
        ({"likelihood": ["gaussian", "mse"]}, None),
        ({"likelihood": ["gaussian", "mse"], "sigma2": [0.5, 1.0]}, "2 of 3"),
        ({"likelihood": ["bernoulli", "bce"], "seed": [0, 1]}, "4 of 4"),
        ({"sigma2": [0.1, 1.0], "gamma": [10, 1], "regulariser": ["capacity"]}, "2 of 4"),
        (
            {
                "reduction": ["sum", "mean"],
                "beta": {"value": 1.0, "unit": "raw"},
                "sigma2": [0.25, 1.0],
            },
            "space: 2 of 4",
        ),
    ],
)
def test_settings_that_have_a_list_are_counted(space: dict[str, Any], share: str | None) -> None:
    """The mean over 64 pixels and 16 latents weighs a raw KL four times as much as the sum."""
    found = notes(space)
    expected = f"{share} settings are the same model as another"
    assert [expected in note for note in found] == ([] if share is None else [True])


def test_the_count_is_that_of_the_keys_by_which_trials_are_reused() -> None:
    beta = {"low": 0.01, "high": 100.0, "log": True, "points": 9, "unit": "raw"}
    space = {
        "reduction": ["sum", "mean", "kl_batch_sum"],
        "beta": beta,
        "sigma2": [0.1, 1.0],
        "likelihood": ["gaussian", "mse", "laplace"],
        "regulariser": ["kl", "wae_mmd"],
        "mmd_weight": [1.0, 10.0],
    }
    document = {"study": {"name": "a", "sampler": "grid"}, "data": {"name": "digits"}}
    spec = Spec.from_dict({**document, "space": space})
    listed = ListedModels.of(spec, found := Space(spec, 64))
    trials = (FixedTrial(point) for point in found.grid())
    keys = Counter(equivalence_of(found.suggest(trial).config) for trial in trials)
    assert listed is not None
    assert len(listed) == sum(keys.values())
    assert listed.repeated == sum(count for count in keys.values() if count > 1) > 0


def test_more_settings_than_can_be_counted_at_once_are_spoken_of_in_general() -> None:
    many = {"reduction": ["sum", "mean"], "beta": RAW, "seed": {"low": 0, "high": 9999}}
    assert "reached twice" in notes(many)[0]
    listed = {**many, "beta": LISTED}
    assert "reached twice" in notes(listed)[0]


def test_dedupe_is_offered_where_it_would_find_equal_settings() -> None:
    twice = {"reduction": ["sum", "mean"]}
    assert "study.dedupe = true trains each setting once" in notes(twice | {"beta": [1, 2]})[0]
    assert "study.dedupe" not in notes(twice | {"beta": BETA})[0]
    assert "dedupe is on: each" in notes(twice | {"beta": [1, 2]}, dedupe=True)[0]
    assert "finds no equal settings" in notes(twice | {"beta": BETA}, dedupe=True)[0]


def test_a_spec_can_be_redundant_in_several_ways() -> None:
    space = {"reduction": ["sum", "batch_sum"], "sigma2": [0.1, 1.0, 0.5], "beta": LISTED}
    assert len(notes({**space, "likelihood": ["gaussian", "mse"]})) == 3
