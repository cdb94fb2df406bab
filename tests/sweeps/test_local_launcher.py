"""Worker processes on this machine keep the contract of launchers."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from launcher_contract import LONG, Crew, LauncherContract
from sweeps.devices import physical_cores
from sweeps.launcher import Launcher, WorkerPlan
from sweeps.local_launcher import LocalLauncher


class TestLocalLauncher(LauncherContract):
    def build(self, plan: WorkerPlan) -> Launcher:
        return LocalLauncher(plan)

    def unfit(self, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch) -> tuple[Launcher, str]:
        return self.build(replace(plan, device="cuda:99")), "A device must be one of .*'cuda:99'"

    def test_a_worker_that_was_asked_to_leave_by_somebody_else_is_replaced(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(1)
        crew.watch(crew.training, "a trial is in training")
        os.kill(crew.workers()[0].pid, signal.SIGTERM)
        crew.watch(lambda: len(crew.workers()) == 2, "another worker has come")
        assert [(end.reason, end.restarted) for end in crew.ends] == [("left early", True)]
        assert crew.trials()[0].attempt == 1 or crew.trials()[0].state == "running"

    def test_a_killed_worker_is_reported_by_its_signal(self, crew_of: Callable[..., Crew]) -> None:
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(1)
        crew.watch(crew.workers, "a worker has come")
        os.kill(crew.workers()[0].pid, signal.SIGKILL)
        crew.watch(lambda: crew.ends, "the death is reported")
        assert crew.ends[0].reason == "killed by SIGKILL"

    def test_the_database_and_its_password_are_on_no_command_line(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        """Every user of a machine sees the command lines of all processes."""
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(1)
        crew.watch(crew.training, "a trial is in training")
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        words = [word for process in family for word in process.cmdline()]
        assert "desk" in words
        assert not any("sqlite" in word for word in words)

    def test_a_worker_and_what_it_started_are_killed_together(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(1)
        crew.watch(crew.training, "a trial is in training")
        worker = psutil.Process(crew.workers()[0].pid)
        family = [worker, *worker.children(recursive=True)]
        assert len(family) == 2, "the worker and the process that makes suggestions"
        crew.launcher.kill()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []

    def test_without_a_number_there_is_a_worker_for_each_core(
        self, tmp_path: Path, storage: str
    ) -> None:
        plan = self.plan(tmp_path, storage)
        assert self.build(plan).usual_workers == physical_cores()
