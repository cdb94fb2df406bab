"""What a person sees of a trial: its numbers, and what is special about its loss."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from studies.study_records import get_study
from sweeps.progress import SweepDisplay, trial_line
from sweeps.status import status_of
from sweeps.status_text import render_status
from toy_sweeps import ToySweep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study"


def one_trial(folder: Path, space: dict[str, Any]) -> ToySweep:
    sweep = ToySweep.create(folder, space, trials=1, sampler="grid")
    sweep.desk().refill(1)
    return sweep


LINES = {
    "the plain loss": ({"beta": [0.5]}, "(β=0.5 M=16 mlp gaussian sum constant)"),
    "free bits": (
        {"regulariser": ["free_bits"], "beta": [0.5]},
        "(β=0.5 M=16 mlp gaussian sum constant free_bits)",
    ),
    "a loss without a beta": (
        {"regulariser": ["capacity"]},
        "(M=16 mlp gaussian sum constant capacity)",
    ),
    "a prior and a posterior": (
        {"prior": ["mixture"], "posterior": ["full"]},
        "(β=1 M=16 mlp gaussian sum constant mixture full)",
    ),
}


@pytest.mark.parametrize(("space", "settings"), LINES.values(), ids=LINES)
def test_a_finished_trial_is_one_line_that_names_its_loss(
    folder: Path, space: dict[str, Any], settings: str
) -> None:
    sweep = one_trial(folder, space)
    lease = sweep.take()
    assert lease is not None
    sweep.finish(lease, (3.0, 5.0))
    line = trial_line(sweep.trials()[0], "se", 1, 1)
    assert line == f"[1/1] trial 0 complete: R=3.00 nats D=5.00 SE {settings}"
    assert "1 complete" in render_status(status_of(sweep.db, "toy"), as_json=False)


def test_a_running_trial_without_a_beta_is_drawn(folder: Path) -> None:
    sweep = one_trial(folder, {"regulariser": ["geco"], "target_se": [3.0]})
    sweep.take()
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with SweepDisplay(console, sweep.db, get_study(sweep.db, "toy")) as display:
        assert display.refresh() == 0
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert "geco" in drawn
    assert "–" in drawn
