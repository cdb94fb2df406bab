"""What a spec searches twice is told, and nothing else is."""

from typing import Any

import pytest

from sweeps.redundancy import redundancies
from sweeps.spec import Spec

BETA = {"low": 0.1, "high": 10, "log": True}
RAW = {**BETA, "unit": "raw"}
LISTED = {"choices": [0.1, 1.0], "unit": "raw"}


def notes(space: dict[str, Any], *, dedupe: bool = False, **sections: dict[str, Any]) -> list[str]:
    study = {"name": "a", "dedupe": dedupe}
    return redundancies(
        Spec.from_dict({"study": study, "data": {"name": "digits"}, "space": space, **sections})
    )


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
        ({"likelihood": ["gaussian", "mse"]}, "the second is the first with sigma2 = 1/2"),
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


def test_dedupe_is_offered_where_it_would_find_equal_settings() -> None:
    twice = {"reduction": ["sum", "mean"]}
    assert "study.dedupe = true trains each setting once" in notes(twice | {"beta": [1, 2]})[0]
    assert "study.dedupe" not in notes(twice | {"beta": BETA})[0]
    assert "dedupe is on: each" in notes(twice | {"beta": [1, 2]}, dedupe=True)[0]
    assert "finds no equal settings" in notes(twice | {"beta": BETA}, dedupe=True)[0]


def test_a_spec_can_be_redundant_in_several_ways() -> None:
    space = {"reduction": ["sum", "mean"], "sigma2": [0.1, 1.0], "beta": LISTED}
    assert len(notes({**space, "likelihood": ["gaussian", "mse"]})) == 3
