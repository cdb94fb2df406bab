"""A sweep is stopped, and gets more or fewer workers, from another terminal while it runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from launcher_contract import LONG, prepared
from rdsweep_command import PATIENCE_SECONDS, Rdsweep
from studies.database import Database, open_database
from studies.errors import StudiesError
from studies.launchers import list_launchers, register_launcher
from studies.orders import order_stop, standing_order
from studies.queries import query_trials
from studies.records import TrialRecord, WorkerRecord
from studies.study_records import get_study, update_study
from studies.workers import list_workers
from sweeps.living import living_workers

Wait = Callable[[Callable[[], object]], None]


def trials_of(rdsweep: Rdsweep, where: str | None = None) -> list[TrialRecord]:
    try:
        return query_trials(open_database(rdsweep.url), "small", where=where, order_by="number")
    except StudiesError:  # not made yet
        return []


def in_training(rdsweep: Rdsweep) -> list[TrialRecord]:
    return trials_of(rdsweep, "state = 'running' and epoch >= 1")


def alive(rdsweep: Rdsweep) -> list[WorkerRecord]:
    return list_workers(open_database(rdsweep.url), "small", ended=False)


class TestStop:
    def test_running_trials_are_finished_and_the_run_says_how_to_go_on(
        self, rdsweep: Rdsweep, eventually: Wait
    ) -> None:
        options = ("run", str(rdsweep.write_spec(epochs=120)), "--no-report", "--workers", "1")
        process = rdsweep.start(*options, "--set", "study.trials=3")
        eventually(lambda: in_training(rdsweep))
        said = rdsweep("stop", "small", "--wait").stdout.splitlines()
        assert said[0] == (
            "study small: 1 worker leaves when its trial is finished; 1 running trial to finish "
            "(--now does not finish them)"
        )
        assert said[-1] == "no worker is left"
        log, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130
        assert "ordered to stop" in log
        assert "stopped; go on with: rdsweep run" in log
        assert "Every worker ended" not in log
        finished = [(trial.state, trial.attempt) for trial in trials_of(rdsweep)]
        assert finished == [("complete", 1)] * len(finished)
        assert 1 <= len(finished) < 3
        rdsweep(*options, "--set", "study.trials=3")
        assert [(t.state, t.attempt) for t in trials_of(rdsweep)] == [("complete", 1)] * 3
        launchers = list_launchers(open_database(rdsweep.url), "small")
        assert [one.ended_at is not None for one in launchers] == [True, True]
        assert standing_order(open_database(rdsweep.url), "small") is None

    def test_now_leaves_them_to_be_continued_from_the_epoch_that_ends(
        self, rdsweep: Rdsweep, eventually: Wait
    ) -> None:
        spec = rdsweep.write_spec(epochs=LONG)
        process = rdsweep.start("run", str(spec), "--no-report")
        eventually(lambda: len(in_training(rdsweep)) == 2)
        said = rdsweep("stop", "small", "--now", "--wait").stdout
        assert "2 workers leave when their epochs end; 2 running trials to go on with" in said
        log, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130, log
        left = trials_of(rdsweep, "epoch >= 1")
        assert {(trial.state, trial.attempt) for trial in left} == {("queued", 1)}
        files = [path.name for path in rdsweep.folder.rglob("checkpoint-*")]
        assert len(files) >= len(left) == 2

    def test_workers_that_died_are_not_waited_for(
        self, rdsweep: Rdsweep, eventually: Wait
    ) -> None:
        spec = rdsweep.write_spec(epochs=LONG)
        process = rdsweep.start("run", str(spec), "--no-report", "--workers", "1")
        eventually(lambda: in_training(rdsweep))
        process.kill()
        process.wait()
        for worker in alive(rdsweep):
            os.kill(worker.pid, signal.SIGKILL)
        said = rdsweep("stop", "small", "--wait").stdout.splitlines()
        assert said[0].startswith("study small: no worker is alive; one that starts before the ")
        assert said[1:] == ["no worker is left"]


class TestScale:
    def test_a_running_sweep_gets_fewer_workers_then_none_then_more(
        self, rdsweep: Rdsweep, eventually: Wait
    ) -> None:
        options = ("--no-report", "--set", "study.trials=500")  # more than it will ever come to
        process = rdsweep.start("run", str(rdsweep.write_spec(epochs=20)), *options)
        eventually(lambda: len(in_training(rdsweep)) == 2)
        said = rdsweep("scale", "small", "1").stdout
        assert "2 → 1 workers" in said
        eventually(lambda: len(alive(rdsweep)) == 1)
        rdsweep("scale", "small", "0")
        eventually(lambda: not alive(rdsweep))
        assert process.poll() is None
        wanted = len(trials_of(rdsweep)) + 2
        db = open_database(rdsweep.url)
        update_study(db, replace(get_study(db, "small"), trials_wanted=wanted))
        rdsweep("scale", "small", "2")
        log, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, log
        assert "scaled to 0 workers" in log
        assert [(t.state, t.attempt) for t in trials_of(rdsweep)] == [("complete", 1)] * wanted
        reasons = [worker.reason for worker in list_workers(open_database(rdsweep.url), "small")]
        assert sorted(map(str, reasons)) == ["None"] * 2 + ["ordered to drain"] * 2


class TestScaleByHand:
    """No process looks after the workers."""

    @pytest.fixture
    def db(self, rdsweep: Rdsweep) -> Iterator[Database]:
        db = prepared(rdsweep.url, rdsweep.folder, epochs=LONG, trials=4)
        yield db
        db.close()

    def test_surplus_workers_are_told_to_drain_and_the_command_for_more_is_printed(
        self, rdsweep: Rdsweep, db: Database, eventually: Wait
    ) -> None:
        workers = [rdsweep.start("worker", "small", "--device", "cpu") for _ in range(2)]
        eventually(lambda: len(living_workers(db, "small")) == 2)
        said = rdsweep("scale", "small", "3").stdout.splitlines()
        assert said[0] == "study small: no launcher is alive; living workers: 2"
        assert "start a worker with this command, on this machine:" in said[1]
        assert said[2].endswith(f"--storage {db.url}")
        said = rdsweep("scale", "small", "1").stdout.splitlines()
        assert said[1] == "1 of them leaves when its trial is finished"
        told = [worker.stop for worker in living_workers(db, "small")]
        assert sorted(map(str, told)) == ["None", "drain"]
        order_stop(db, "small", "now")
        for process in workers:
            assert process.wait(timeout=PATIENCE_SECONDS) == os.EX_TEMPFAIL

    def test_a_study_that_was_stopped_goes_on(self, rdsweep: Rdsweep, db: Database) -> None:
        order_stop(db, "small", "drain")
        left = rdsweep("worker", "small", "--device", "cpu")
        assert "study 'small' was told to stop, so this worker leaves at once" in left.stderr
        said = rdsweep("scale", "small", "1").stdout
        assert "start a worker with this command" in said
        assert standing_order(db, "small") is None

    def test_of_several_launchers_one_has_to_be_named(
        self, rdsweep: Rdsweep, db: Database
    ) -> None:
        for launcher_id in ("first-launcher", "second-launcher"):
            register_this_process(db, launcher_id)
        said = rdsweep("scale", "small", "3", status=2).stderr
        assert "--launcher must say which launcher of study 'small' is meant" in said
        assert "first-la" in said
        assert "second-l" in said
        assert len(said.splitlines()) == 1
        assert "'third'" in rdsweep("scale", "small", "3", "--launcher", "third", status=2).stderr
        rdsweep("scale", "small", "3", "--launcher", "sec")
        wanted = {one.id: one.workers_wanted for one in list_launchers(db, "small")}
        assert wanted == {"first-launcher": 1, "second-launcher": 3}

    def test_a_study_that_is_stopping_is_not_scaled(self, rdsweep: Rdsweep, db: Database) -> None:
        register_this_process(db, "launcher")
        order_stop(db, "small", "drain")
        said = rdsweep("scale", "small", "3", status=2).stderr
        assert "must not be stopping" in said
        assert len(said.splitlines()) == 1


def register_this_process(db: Database, launcher_id: str) -> None:
    """As a launcher that is alive."""
    register_launcher(
        db,
        "small",
        launcher_id,
        kind="local",
        host=os.uname().nodename,
        pid=os.getpid(),
        process_started_at=psutil.Process().create_time(),
        workers_wanted=1,
    )


MISTAKES = {
    "no number": (("scale", "small"), "Missing argument 'N'"),
    "no whole number": (("scale", "small", "many"), "Invalid value for 'N'"),
    "no study": (("stop",), "Missing argument 'STUDY'"),
    "a study that is not there": (("stop", "smal"), "did you mean 'small'?"),
    "an option that is not there": (("stop", "small", "--drain"), "No such option: --drain"),
    "workers that outlive nobody": (("run", "small.toml", "--detach"), "--launcher ray, slurm or"),
    "a launcher that is not there": (("run", "small.toml", "--launcher", "slrum"), "'slurm'?"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_line(
    finished: Rdsweep, arguments: tuple[str, ...], message: str
) -> None:
    said = finished(*arguments, status=2).stderr
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("launcher", ["ray", "slurm", "manual"])
def test_a_launcher_that_spans_machines_is_refused_with_sqlite_before_anything_is_made(
    rdsweep: Rdsweep, launcher: str
) -> None:
    spec = rdsweep.write_spec()
    said = rdsweep("run", str(spec), "--launcher", launcher, status=2).stderr
    assert f"Launcher '{launcher}' spans machines" in said
    assert "rdsweep db start" in said
    assert "rdsweep db copy" in said
    assert len(said.splitlines()) == 1
    assert [path.name for path in rdsweep.folder.iterdir()] == ["small.toml"]


def test_help_loads_neither_torch_nor_optuna_nor_the_database(tmp_path: Path) -> None:
    heavy = "{'torch', 'optuna', 'sqlalchemy', 'ray', 'submitit', 'numpy'}"
    program = f"import sys, sweeps.cli; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
