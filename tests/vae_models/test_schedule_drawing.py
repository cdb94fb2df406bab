"""The drawing of the schedules in the docs can be made again, and has every schedule."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "draw_schedules.py"


def test_the_drawing_of_the_docs_can_be_made_again(tmp_path: Path) -> None:
    place = tmp_path / "schedules.png"
    runpy.run_path(str(SCRIPT))["draw_schedules"](place)
    assert place.read_bytes().startswith(b"\x89PNG")


def test_a_schedule_that_is_not_drawn_is_noticed(tmp_path: Path) -> None:
    draw = runpy.run_path(str(SCRIPT))["draw_schedules"]
    draw.__globals__["PANELS"] = draw.__globals__["PANELS"][1:]
    with pytest.raises(ValueError, match="PANELS must have every one of"):
        draw(tmp_path / "schedules.png")
