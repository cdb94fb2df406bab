"""Workers that people start by hand keep the contract of launchers, as far as it is theirs."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from launcher_contract import LONG, Crew, LauncherContract
from sweeps.launcher import Launcher, WorkerPlan
from sweeps.manual_launcher import ManualLauncher, start_instructions


@dataclass
class Person:
    """Does what the launcher asks for."""

    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def obey(self, text: str) -> None:
        """Starts the command in the text as often as it says."""
        self.read.append(text)
        found = re.fullmatch(r"start (a|\d+) worker.*:\n  (rdsweep worker .*)", text)
        assert found, text
        words = shlex.split(found[2])[1:]
        for _ in range(1 if found[1] == "a" else int(found[1])):
            command = [sys.executable, "-m", "sweeps.cli", *words]
            self.processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))


class TestManualLauncher(LauncherContract):
    restarts = False

    @pytest.fixture(autouse=True)
    def person(self) -> Iterator[Person]:
        self.hands = Person()
        yield self.hands
        for process in self.hands.processes:
            process.kill()
            process.wait()

    def build(self, plan: WorkerPlan) -> Launcher:
        return ManualLauncher(plan, say=self.hands.obey)

    def unfit(self, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch) -> tuple[Launcher, str]:
        raise NotImplementedError  # whoever starts a worker sees what is missing

    def test_it_says_what_is_missing_before_anything_is_started(
        self, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing has to be there."""
        self.build(self.plan(tmp_path, storage)).check()
        assert self.hands.read == []

    def test_a_worker_that_cannot_start_is_given_up_with_its_last_line_as_the_reason(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        """Whoever started it reads that line; its place stays free until it is filled or given up."""
        crew = crew_of()
        launcher = ManualLauncher(self.plan(crew.folder, crew.db.url), say=lambda _: None)
        assert launcher.scale(2) == []
        assert launcher.running == 2
        assert launcher.scale(0) == []
        assert launcher.running == 0
        launcher.scale(1)
        launcher.stop()
        assert launcher.running == 0
        assert launcher.ends() == []
        launcher.close()

    def test_killed_workers_are_named_and_gone(self, crew_of: Callable[..., Crew]) -> None:
        """They are asked to leave instead: whoever started them may end them."""
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(1)
        crew.watch(crew.training, "a trial is in training")
        assert crew.launcher.kill() == []
        assert crew.launcher.running == 0
        crew.watch(lambda: not crew.workers(ended=False), "the worker has left by itself")
        assert crew.workers()[0].reason == "ordered to stop now"
        assert crew.checkpoints(0)

    def test_the_command_is_told_only_for_workers_that_are_missing(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(1)
        crew.watch(crew.workers, "a worker has come")
        self.build(self.plan(crew.folder, crew.db.url)).scale(2)
        assert [text.partition(" with")[0] for text in self.hands.read] == ["start a worker"] * 2


@pytest.fixture
def plan(tmp_path: Path) -> WorkerPlan:
    url = "postgresql+psycopg://me@host/sweeps"
    return WorkerPlan(study="small", url=url, launcher_id="launcher", logs=tmp_path)


def test_the_command_names_study_database_and_resources(plan: WorkerPlan) -> None:
    asked = replace(plan, device="cuda", threads=4, time_limit_minutes=90)
    assert start_instructions(asked, 3) == (
        "start 3 workers, each with this command, on any machine that reaches the database and "
        "the files:\n"
        "  rdsweep worker small --device cuda --threads 4 --time-limit 5400 "
        "--storage postgresql+psycopg://me@host/sweeps"
    )


def test_a_password_is_not_shown_but_where_it_belongs(plan: WorkerPlan) -> None:
    url = "postgresql+psycopg://me:secret@host/sweeps"
    text = start_instructions(replace(plan, url=url), 1)
    assert "secret" not in text
    assert text.splitlines()[1:] == [
        f"  export RDSWEEP_STORAGE='{url.replace('secret', '***')}'  # with the password in place of ***",
        "  rdsweep worker small --device auto --threads 1",
    ]


def test_a_study_in_a_file_has_its_workers_on_one_machine(plan: WorkerPlan) -> None:
    url = "sqlite:////tmp/rdsweep.db"
    assert "on this machine:" in start_instructions(replace(plan, url=url), 1)
