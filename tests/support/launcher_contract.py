"""What holds for every launcher, on real workers that train small models on the digits.

A subclass says how its launcher is built and, where a worker's process is not one of this machine,
how one is killed.
"""

import os
import re
import signal
import time
import tomllib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rdsweep_command import PATIENCE_SECONDS, SPEC
from studies.database import Database, open_database
from studies.leases import release_worker
from studies.orders import order_worker_stop
from studies.queries import query_trials
from studies.records import TrialRecord, WorkerRecord
from studies.workers import list_workers
from sweeps.errors import SweepError
from sweeps.launcher import MAX_RESTARTS, Launcher, WorkerEnd, WorkerPlan
from sweeps.spec import Spec
from sweeps.study_setup import prepare_study

STUDY = "small"
LONG = 1_000_000
"""So many epochs never end within a test."""


@dataclass
class Crew:
    """The workers of a launcher on a study, watched as the supervisor does.

    Attributes:
        db: the database.
        folder: where the study's files are.
        launcher: what starts them.
        patience_seconds: how long a condition may take to come true.
        ends: what the launcher said of workers that ended.
    """

    db: Database
    folder: Path
    launcher: Launcher
    patience_seconds: float
    ends: list[WorkerEnd] = field(default_factory=list)

    def look(self) -> int:
        """Gives back the trials of dead workers; returns how many workers there are."""
        before = self.launcher.running
        for end in self.launcher.ends():
            self.ends.append(end)
            if end.dead:
                release_worker(self.db, end.worker_id, end.reason)
        return max(before, self.launcher.running)

    def watch(self, condition: Callable[[], Any], what: str) -> None:
        """Looks until a condition holds."""
        last = time.monotonic() + self.patience_seconds
        while True:
            self.look()
            if condition():
                return
            assert time.monotonic() < last, f"not within {self.patience_seconds:g} s: {what}"
            time.sleep(0.1)

    def watch_to_the_end(self) -> None:
        """Looks until no worker is left."""
        self.watch(lambda: self.look() == 0, "every worker has left")

    def trials(self, where: str | None = None) -> list[TrialRecord]:
        return query_trials(self.db, STUDY, where=where, order_by="number")

    def workers(self, *, ended: bool | None = None) -> list[WorkerRecord]:
        return list_workers(self.db, STUDY, ended=ended)

    def training(self) -> list[TrialRecord]:
        """The trials that have stored an epoch and go on."""
        return self.trials("state = 'running' and epoch >= 1")

    def checkpoints(self, number: int) -> list[Path]:
        return list(self.folder.glob(f"{STUDY}/{number:05d}-*/checkpoint-*"))


class LauncherContract(ABC):
    """Inherited by the tests of each launcher."""

    restarts: ClassVar[bool] = True
    """Whether it starts a worker again that died."""

    patience_seconds: ClassVar[float] = PATIENCE_SECONDS
    """How long workers may take to start, to train a few epochs, and to leave."""

    trials: ClassVar[int] = 4

    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        """The database's URL."""
        return f"sqlite:///{tmp_path / 'rdsweep.db'}"

    @abstractmethod
    def build(self, plan: WorkerPlan) -> Launcher:
        """The launcher of a plan."""

    @abstractmethod
    def unfit(self, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch) -> tuple[Launcher, str]:
        """A launcher that cannot start workers here, and a pattern of what it says of that."""

    def kill_one(self, worker: WorkerRecord) -> None:
        """Ends a worker's process without a warning."""
        os.kill(worker.pid, signal.SIGKILL)

    def more(self) -> Mapping[str, Any]:
        """What else is in the plan."""
        return {}

    def plan(self, folder: Path, url: str, study: str = STUDY) -> WorkerPlan:
        return WorkerPlan(
            study=study,
            url=url,
            launcher_id=uuid.uuid4().hex,
            logs=folder / "logs",
            **{"device": "cpu", "threads": 1, "grace_seconds": 30, **self.more()},
        )

    @pytest.fixture
    def crew_of(self, tmp_path: Path, storage: str) -> Iterator[Callable[..., Crew]]:
        """Makes the study and the launcher; what still runs in the end is killed."""
        crews: list[Crew] = []

        def made(*, epochs: int = 2, study: str = STUDY) -> Crew:
            db = prepared(storage, tmp_path, epochs=epochs, trials=self.trials)
            launcher = self.build(self.plan(tmp_path, db.url, study))
            crews.append(Crew(db, tmp_path / "files", launcher, self.patience_seconds))
            return crews[-1]

        yield made
        for crew in crews:
            crew.launcher.kill()
            crew.launcher.close()
            crew.db.close()

    def test_its_workers_finish_a_study_and_leave(self, crew_of: Callable[..., Crew]) -> None:
        crew = crew_of()
        crew.launcher.check()
        assert crew.launcher.scale(2) == []
        crew.watch_to_the_end()
        assert [trial.state for trial in crew.trials()] == ["complete"] * self.trials
        assert {trial.attempt for trial in crew.trials()} == {1}
        assert crew.launcher.ended_well
        assert crew.ends == []
        assert len(crew.workers()) == len(crew.workers(ended=True)) == 2

    def test_a_killed_workers_trial_goes_on_under_the_same_number(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        """And another worker is started in its place, where the launcher does that."""
        crew = crew_of(epochs=60)
        crew.launcher.scale(2)
        crew.watch(lambda: len(crew.training()) == 2, "two trials are in training")
        victim = crew.training()[0]
        (worker,) = (one for one in crew.workers() if one.id == victim.worker)
        self.kill_one(worker)
        crew.watch(lambda: crew.ends, "the death is reported")
        assert [(end.worker_id, end.restarted) for end in crew.ends] == [
            (worker.id, self.restarts)
        ]
        crew.watch_to_the_end()
        trials = {trial.number: trial for trial in crew.trials()}
        assert {trial.state for trial in trials.values()} == {"complete"}
        assert trials[victim.number].uuid == victim.uuid
        assert {trial.number: trial.attempt for trial in trials.values()} == {
            **dict.fromkeys(range(self.trials), 1),
            victim.number: 2,
        }
        assert len(crew.workers()) == (3 if self.restarts else 2)

    def test_a_worker_that_cannot_start_is_given_up_with_its_last_line_as_the_reason(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        crew = crew_of(study="nothing")
        crew.launcher.scale(1)
        crew.watch_to_the_end()
        assert [end.restarted for end in crew.ends] == [True] * MAX_RESTARTS + [False]
        assert len({end.worker_id for end in crew.ends}) == MAX_RESTARTS + 1
        assert all("A study must exist" in end.reason for end in crew.ends)
        assert not crew.launcher.ended_well

    def test_workers_come_and_go_while_the_study_runs(self, crew_of: Callable[..., Crew]) -> None:
        """Surplus ones finish their trials when told to drain, and are not started again."""
        crew = crew_of(epochs=100)
        crew.launcher.scale(1)
        crew.watch(lambda: len(crew.training()) == 1, "the first worker trains")
        assert crew.launcher.scale(3) == []
        crew.watch(lambda: len(crew.workers()) == 3, "two more have come")
        surplus = crew.launcher.scale(1)
        assert len(surplus) == 2
        order_worker_stop(crew.db, surplus, "drain")
        crew.watch(lambda: len(crew.workers(ended=True)) == 2, "two have gone")
        gone = {worker.id: worker.reason for worker in crew.workers(ended=True)}
        assert gone == dict.fromkeys(surplus, "ordered to drain")
        crew.watch(lambda: crew.launcher.running <= 1, "their processes have ended")
        crew.watch_to_the_end()
        assert crew.ends == []
        assert len(crew.workers()) == 3
        assert [(t.state, t.attempt) for t in crew.trials()] == [("complete", 1)] * self.trials

    def test_stopped_workers_leave_at_an_epoch_with_their_work_stored(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(2)
        crew.watch(lambda: len(crew.training()) == 2, "two trials are in training")
        crew.launcher.stop()
        crew.watch_to_the_end()
        left = crew.trials("epoch >= 1")
        assert {trial.state for trial in left} == {"queued"}
        assert all(crew.checkpoints(trial.number) for trial in left)
        assert not any(end.restarted for end in crew.ends)
        assert not crew.launcher.ended_well
        assert len(crew.workers(ended=True)) == len(crew.workers()) == 2

    def test_killed_workers_are_named_and_gone(self, crew_of: Callable[..., Crew]) -> None:
        crew = crew_of(epochs=LONG)
        crew.launcher.scale(2)
        crew.watch(lambda: len(crew.training()) == 2, "two trials are in training")
        ids = crew.launcher.kill()
        assert sorted(ids) == sorted(worker.id for worker in crew.workers())
        crew.watch_to_the_end()
        last = {trial.number: trial.epoch for trial in crew.trials("epoch >= 1")}
        assert len(last) == 2
        for worker_id in ids:  # a cluster may have warned them, so that they gave it back
            release_worker(crew.db, worker_id, "killed", counts=False)
        left = crew.trials("epoch >= 1")
        assert {trial.number: trial.epoch for trial in left} == last
        assert {trial.state for trial in left} == {"queued"}

    def test_it_says_what_is_missing_before_anything_is_started(
        self, tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        launcher, message = self.unfit(self.plan(tmp_path, storage), monkeypatch)
        with pytest.raises(SweepError, match=message) as caught:
            launcher.check()
        assert "\n" not in str(caught.value)
        assert launcher.running == 0
        assert not (tmp_path / "logs").exists()

    def test_its_plan_is_shown_without_the_databases_url(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, "postgresql://me:secret@host/sweeps")
        assert not re.search("secret|postgresql", repr(plan))


def prepared(url: str, folder: Path, *, epochs: int, trials: int) -> Database:
    """A database with a study of digits whose trials take so many epochs."""
    document = tomllib.loads(SPEC.format(epochs=epochs))
    document["study"] |= {"artifacts": str(folder / "files"), "trials": trials}
    document["evaluation"] = {"iwae_samples": 0, "diagnostic_examples": 0}
    db = open_database(url, patience_seconds=60)
    prepare_study(Spec.from_dict(document), db)
    return db
