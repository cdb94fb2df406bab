"""Worker processes that end badly are told apart from those that found nothing to do."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rdsweep_command import Rdsweep
from studies.database import open_database
from sweeps.devices import Placement
from sweeps.local_launcher import MAX_RESTARTS, LocalLauncher

Wait = Callable[[Callable[[], bool]], None]


def launcher_of(rdsweep: Rdsweep, study: str) -> LocalLauncher:
    return LocalLauncher(
        study=study,
        url=open_database(rdsweep.url).url,
        placements=[Placement(device="cpu", threads=1)],
        logs=rdsweep.folder / "logs",
    )


def test_a_worker_that_cannot_start_is_tried_again_and_then_given_up_with_its_last_line(
    tmp_path: Path, eventually: Wait
) -> None:
    launcher = launcher_of(Rdsweep(tmp_path), "nothing")
    launcher.start()
    deaths = []

    def all_are_dead() -> bool:
        deaths.extend(launcher.deaths())
        return len(deaths) == MAX_RESTARTS + 1

    eventually(all_are_dead)
    assert [death.restarted for death in deaths] == [True] * MAX_RESTARTS + [False]
    assert "there is no file" in deaths[-1].reason
    assert launcher.running == 0
    assert not launcher.ended_well
    assert len({death.worker_id for death in deaths}) == len(deaths)


@pytest.fixture
def copied(finished: Rdsweep, tmp_path: Path) -> Rdsweep:
    """A finished study that more workers may register in."""
    with (
        closing(sqlite3.connect(finished.folder / "rdsweep.db")) as source,
        closing(sqlite3.connect(tmp_path / "rdsweep.db")) as copy,
    ):
        source.backup(copy)
    return Rdsweep(tmp_path)


def test_a_killed_worker_is_reported_by_its_signal_and_not_replaced_once_stopping(
    copied: Rdsweep, eventually: Wait
) -> None:
    launcher = launcher_of(copied, "small")
    launcher.start()
    assert launcher.running == 1
    os.kill(launcher._seats[0].process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    launcher.stop()
    eventually(lambda: launcher.running == 0)
    (death,) = launcher.deaths()
    assert death.reason == "killed by SIGKILL"
    assert not death.restarted
    assert launcher.deaths() == []


def test_a_worker_of_a_finished_study_finds_nothing_to_do_and_ends_well(
    copied: Rdsweep, eventually: Wait
) -> None:
    launcher = launcher_of(copied, "small")
    launcher.start()
    eventually(lambda: launcher.running == 0)
    assert launcher.deaths() == []
    assert launcher.ended_well
