"""The samplers by name, the choice that `auto` makes, and how evenly Sobol points lie."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import qmc

from sweeps.samplers import build_sampler, choose_sampler
from sweeps.space import Space
from toy_sweeps import BETA, PIXELS, TREE, ToySweep, spec_of, trade_off


def space_of(space: object) -> Space:
    return Space(spec_of(space), PIXELS)  # type: ignore[arg-type]


class TestAuto:
    def test_it_takes_the_grid_where_all_points_fit(self) -> None:
        chosen = choose_sampler("auto", space_of({"beta": [1, 2], "latent_dim": [2, 4]}), 4)
        assert (chosen.name, "all 4 points" in chosen.reason) == ("grid", True)

    def test_it_takes_no_grid_that_cannot_be_listed(self) -> None:
        space = space_of({"epochs": {"low": 1, "high": 200_000}})
        assert choose_sampler("auto", space, 300_000).name == "tpe"

    def test_it_spreads_few_trials_evenly(self) -> None:
        assert choose_sampler("auto", space_of({"beta": BETA}), 20).name == "sobol"

    def test_it_learns_from_many_trials(self) -> None:
        assert choose_sampler("auto", space_of(TREE), 64).name == "tpe"

    def test_a_name_stands_for_itself(self) -> None:
        assert choose_sampler("gp", space_of(TREE), 64).name == "gp"


@pytest.mark.parametrize("name", ["random", "sobol", "tpe", "nsga2", "gp"])
def test_a_sampler_is_built_anew_for_every_number(name: str) -> None:
    build = [
        build_sampler(name, space_of(TREE), seed=0, number=number, trials=64)
        for number in (20, 21)
    ]
    assert type(build[0]) is type(build[1])
    assert build[0] is not build[1]


def test_sobol_trials_lie_more_evenly_than_random_ones(tmp_path: Path) -> None:
    space = {"beta": BETA, "learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}
    discrepancy = {}
    for sampler in ("sobol", "random"):
        sweep = ToySweep.create(tmp_path / sampler, space, sampler=sampler, trials=32)
        sweep.drive(trade_off, batch=8)
        points = [[t.parameters["beta"], t.parameters["learning_rate"]] for t in sweep.trials()]
        unit = (np.log10(points) - [-2, -5]) / 4
        discrepancy[sampler] = qmc.discrepancy(unit.clip(0, 1))
    assert discrepancy["sobol"] < 0.5 * discrepancy["random"]
