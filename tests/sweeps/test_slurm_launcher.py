"""Workers in jobs of a real Slurm: they go and come back with their jobs, and lose nothing."""

import os
import subprocess
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import make_url, text

from postgres_server import empty_database, missing
from rdsweep_command import SPEC, Rdsweep
from slurm_cluster import SlurmCluster, slurm_cluster, why_not
from studies.attempts import attempts_of
from studies.database import open_database, prepare_schema
from studies.orders import order_stop
from studies.queries import query_trials
from studies.workers import list_workers
from sweeps.errors import SweepError
from sweeps.launcher import WorkerEnd, WorkerPlan
from sweeps.slurm_launcher import SlurmLauncher
from sweeps.slurm_queue import duration_seconds
from sweeps.slurm_submission import parameters
from sweeps.spec import Spec
from sweeps.study_setup import prepare_study

PATIENCE_SECONDS = 120.0
LONG = 1_000_000
"""So many epochs never end within a test."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with slurm_cluster() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(running.configuration))
        yield running


@pytest.fixture
def slurm(cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """The cluster, without jobs before and after the test."""
    yield cluster
    cluster.cancel_all()
    cluster.repair()


def until(condition: Callable[[], Any], what: str) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS:.0f} s: {what}"
        time.sleep(0.1)


class Sweep:
    """A study on the digits, and launchers that work on it."""

    def __init__(self, folder: Path, *, epochs: int = LONG, url: str = "", **study: Any) -> None:
        document = tomllib.loads(SPEC.format(epochs=epochs))
        document["study"] |= {"artifacts": str(folder / "files"), **study}
        document["run"]["lease_seconds"] = 8
        self.spec = Spec.from_dict(document)
        self.db = open_database(url or f"sqlite:///{folder / 'rdsweep.db'}", patience_seconds=60)
        prepare_schema(self.db)
        prepare_study(self.spec, self.db)
        self.plan = WorkerPlan(
            study="small",
            url=self.db.url,
            launcher_id="launcher",
            logs=folder / "logs",
            device="cpu",
            threads=1,
            grace_seconds=30,
        )
        self.ends: list[WorkerEnd] = []

    def launch(self, workers: int, **plan: Any) -> SlurmLauncher:
        """A launcher with so many workers."""
        launcher = SlurmLauncher(replace(self.plan, **plan))
        launcher.check()
        launcher.scale(workers)
        return launcher

    def watch(self, launcher: SlurmLauncher) -> int:
        """Hears what ended; returns how many workers there are."""
        before = launcher.running
        self.ends += launcher.ends()
        return max(before, launcher.running)

    def trained(self, number: int) -> dict[int, list[int]]:
        """The epochs that are stored of a trial, by the attempt that trained them."""
        found: dict[int, list[int]] = {}
        query = (
            "SELECT rdsweep_epochs.attempt, rdsweep_epochs.epoch FROM rdsweep_epochs JOIN rdsweep_trials ON "
            "rdsweep_trials.id = trial_id WHERE number = :number ORDER BY 2"
        )
        with self.db.read() as connection:
            for attempt, epoch in connection.execute(text(query), {"number": number}):
                found.setdefault(attempt, []).append(epoch)
        return found

    def attempts(self, number: int) -> int:
        """How many attempts at a trial have stored an epoch."""
        return len(self.trained(number))

    def worker_of(self, number: int) -> str:
        """Who trains a trial."""
        (trial,) = query_trials(self.db, "small", where=f"number = {number}")
        return trial.worker or ""

    def checkpoints(self, number: int) -> list[Path]:
        """The checkpoints of a trial."""
        return list(self.folder.glob(f"small/{number:05d}-*/checkpoint-*"))

    @property
    def folder(self) -> Path:
        return self.plan.logs.parent / "files"


def job_of(worker: str) -> str:
    """The Slurm job that a worker's id names."""
    return worker.split("-")[1]


def restarts_of(worker: str) -> int:
    """How often that job had been requeued."""
    return int(worker.split("-")[2])


def test_workers_are_one_job_array_with_the_resources_of_the_spec(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    extra = {"hold": True, "nice": 7, "cpus-per-task": 3}
    resources = {"memory_gib": 2.5, "gpus": 1, "time_limit_minutes": 90, "device": "cuda"}
    launcher = Sweep(tmp_path).launch(3, slurm=extra, **resources)
    shown = slurm.command("scontrol", "show", "job")
    assert "ArrayTaskId=0-2" in shown
    for setting in [
        "JobName=rdsweep-small",
        "Requeue=1",
        "TimeLimit=01:30:00",
        "CPUs/Task=3",
        "MinMemoryNode=2.50G",
        "TresPerNode=gres:gpu:1",
        "Nice=7",
    ]:
        assert setting in shown
    assert launcher.running == 3
    assert launcher.kill() == []
    assert launcher.running == 0


def test_a_worker_gets_one_gpu_where_the_partition_has_any_and_none_where_it_has_none(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    plan = WorkerPlan(study="small", url="", launcher_id="", logs=tmp_path)
    gres = [
        parameters(replace(plan, **changes))["additional_parameters"].get("gres")
        for changes in (
            {},
            {"slurm": {"partition": "low"}},
            {"device": "cpu"},
            {"gpus": 2.0},
            {"slurm": {"gres": "shard:1"}},
        )
    ]
    assert gres == ["gpu:1", None, None, "gpu:2", "shard:1"]


@pytest.fixture
def secret_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The password in the URL of a PostgreSQL database, which every command here uses."""
    if missing():
        pytest.skip(missing())
    import psycopg

    role, password = f"role_{uuid.uuid4().hex}", "unforgettable"
    with empty_database() as url, psycopg.connect(url, autocommit=True) as connection:
        parsed = make_url(url)
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")  # type: ignore[call-overload]
        connection.execute(f"ALTER DATABASE {parsed.database} OWNER TO {role}")  # type: ignore[call-overload]
        storage = parsed.set(username=role, password=password)
        monkeypatch.setenv("RDSWEEP_STORAGE", storage.render_as_string(hide_password=False))
        yield password


def test_a_sweep_by_the_command_line_ends_and_leaves_no_password_behind(
    slurm: SlurmCluster, rdsweep: Rdsweep, secret_storage: str
) -> None:
    files = rdsweep.folder / "files"
    settings = ["run.device=cpu", f"study.artifacts={files}", "run.time_limit_minutes=5"]
    words = [word for setting in settings for word in ("--set", setting)]
    spec = str(rdsweep.write_spec())
    process = rdsweep.start("run", spec, "--launcher", "slurm", *words, "--no-report")
    scripts, commands = "", ""
    while process.poll() is None:
        commands += "".join(" ".join(one.info["cmdline"] or ()) for one in all_processes())
        jobs = slurm.command("squeue", "--noheader", "--format=%A").split()
        for job in jobs:
            scripts += subprocess.run(
                ["scontrol", "write", "batch_script", job, "-"], capture_output=True, text=True
            ).stdout
        time.sleep(0.3)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.returncode == 0, output
    db = open_database(os.environ["RDSWEEP_STORAGE"])
    trials = query_trials(db, "small")
    assert [trial.state for trial in trials] == ["complete"] * 8
    assert {job_of(trial.worker or "") for trial in trials} <= {"1_0", "1_1", "2_0", "2_1"}
    db.close()
    assert "submitit.core._submit" in scripts
    assert "sweeps.cli worker small" in commands
    for written in (output, scripts, commands):
        assert secret_storage not in written
    stored = [file for file in rdsweep.folder.rglob("*") if file.is_file()]
    assert any("submitted.pkl" in file.name for file in stored)
    assert [file for file in stored if secret_storage.encode() in file.read_bytes()] == []


def all_processes() -> Iterator[psutil.Process]:
    return psutil.process_iter(["cmdline"])


def test_trials_go_on_from_their_checkpoints_after_a_requeue_a_warning_and_a_failed_node(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, trials=3)
    launcher = sweep.launch(3, slurm={"cpus_per_task": 2})
    until(lambda: all(map(sweep.checkpoints, range(3))), "a checkpoint of each trial")
    numbers = {sweep.worker_of(number): number for number in range(3)}
    nodes = dict(
        line.split()
        for line in slurm.command("squeue", "--noheader", "--array", "--format=%i %N").splitlines()
    )
    lost, requeued, warned = sorted(numbers, key=lambda one: nodes[job_of(one)] != "beta")
    assert [nodes[job_of(worker)] for worker in (lost, requeued, warned)].count("beta") == 1

    slurm.command("scontrol", "requeue", job_of(requeued))
    slurm.command("scancel", "--signal=USR1", job_of(warned))
    slurm.fail_node("beta")
    slurm.command("scontrol", "update", "nodename=beta", "state=down", "reason=test")

    def all_came_back() -> bool:
        return sweep.watch(launcher) == 3 and all(sweep.attempts(n) == 2 for n in range(3))

    until(all_came_back, "a second attempt at each trial")
    for number in range(3):
        before, after = sweep.trained(number).values()
        assert after[0] == before[-1] + 1 > 1
        assert restarts_of(sweep.worker_of(number)) == 1
    (end,) = sweep.ends
    assert (end.worker_id, end.restarted, end.dead) == (lost, True, False)
    assert "its job was requeued by Slurm" in end.reason
    history = attempts_of(sweep.db, "small", range(3))
    assert history[numbers[lost]][0].outcome == "lost"
    assert history[numbers[requeued]][0].reason == "asked to stop (SIGTERM)"
    assert history[numbers[warned]][0].reason == "asked to stop (SIGUSR1)"

    order_stop(sweep.db, "small", "now")
    until(lambda: sweep.watch(launcher) == 0, "the end of all jobs, which heard the order")
    states = slurm.command("squeue", "--noheader", "--array", "--states=all", "--format=%i %T")
    for job in map(job_of, numbers):
        assert f"{job} COMPLETED" in states


def test_a_preempted_job_leaves_within_its_grace_time_and_comes_back(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, trials=1)
    launcher = sweep.launch(1, slurm={"partition": "low"})
    until(lambda: sweep.attempts(0) == 1, "the first epoch")
    urgent = ["--partition=high", "--cpus-per-task=4", "--output=/dev/null", "--wrap=sleep 1"]
    slurm.command("sbatch", *urgent)
    until(lambda: sweep.watch(launcher) == 1 and sweep.attempts(0) == 2, "another attempt")
    before, after = sweep.trained(0).values()
    assert after[0] == before[-1] + 1 > 1
    assert restarts_of(sweep.worker_of(0)) == 1
    assert sweep.ends == []


def test_a_worker_knows_its_time_limit_and_starts_no_trial_that_it_cannot_finish(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, epochs=2, trials=1000)
    launcher = sweep.launch(1, time_limit_minutes=1, grace_seconds=1)
    until(lambda: query_trials(sweep.db, "small", where="state = 'complete'"), "a trial")
    worker = list_workers(sweep.db, "small")[0]
    words = psutil.Process(worker.pid).cmdline()
    assert 0 < int(words[words.index("--time-limit") + 1]) <= 60
    with sweep.db.write() as connection:  # as if trials took a quarter of an hour
        connection.execute(text("UPDATE rdsweep_attempts SET started_at = started_at - 900"))
    until(lambda: "PENDING 1" in states_of(slurm, launcher), "the job's return into the queue")
    (worker,) = list_workers(sweep.db, "small")
    assert worker.reason == "its time limit is too near for another trial"
    assert not query_trials(sweep.db, "small", where="state = 'running'")
    assert sweep.watch(launcher) == 1
    assert sweep.ends == []


def states_of(slurm: SlurmCluster, launcher: SlurmLauncher) -> list[str]:
    """State and number of requeues of each job."""
    lines = slurm.command(
        "squeue", "--noheader", "--array", "--states=all", "--Format=State:20,RestartCnt:8"
    ).splitlines()
    return [" ".join(line.split()) for line in lines]


def test_a_cancelled_job_leaves_its_trial_to_others_and_is_not_submitted_again(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, trials=1)
    launcher = sweep.launch(1)
    until(lambda: sweep.attempts(0) == 1, "the first epoch")
    worker = sweep.worker_of(0)
    slurm.command("scancel", job_of(worker))
    until(lambda: sweep.watch(launcher) == 0, "the end of the job")
    assert sweep.ends == [
        WorkerEnd(worker_id=worker, reason="its job was cancelled", restarted=False)
    ]
    (trial,) = query_trials(sweep.db, "small")
    assert trial.state == "queued"
    assert sweep.checkpoints(0)
    assert not launcher.ended_well


def test_a_worker_that_is_killed_gets_another_job_and_all_can_be_ended_at_once(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, trials=1)
    launcher = sweep.launch(1)
    until(lambda: sweep.attempts(0) == 1, "the first epoch")
    (worker,) = list_workers(sweep.db, "small")
    psutil.Process(worker.pid).kill()
    until(lambda: sweep.watch(launcher) and sweep.ends, "the report of its end")
    assert sweep.ends == [
        WorkerEnd(worker_id=worker.id, reason="killed by SIGKILL", restarted=True)
    ]
    until(lambda: "RUNNING 0" in states_of(slurm, launcher), "another job")
    (killed,) = launcher.kill()
    assert job_of(killed) != job_of(worker.id)
    assert "RUNNING 0" not in states_of(slurm, launcher)
    assert launcher.running == 0


def test_a_stopped_launcher_cancels_the_jobs_that_wait_and_the_others_do_not_come_back(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep(tmp_path, trials=4)
    launcher = sweep.launch(3, slurm={"cpus_per_task": 4, "nodelist": "alpha"})
    until(lambda: sweep.attempts(0) == 1, "the first epoch")
    assert launcher.scale(2) == []
    assert launcher.running == 2
    assert len(states_of(slurm, launcher)) == 3
    launcher.stop()
    until(lambda: sweep.watch(launcher) == 0, "the end of the running job")
    assert sorted(states_of(slurm, launcher)) == ["CANCELLED 0", "CANCELLED 0", "COMPLETED 0"]
    assert sweep.ends == []
    assert not launcher.ended_well
    (attempt,) = attempts_of(sweep.db, "small", [0])[0]
    assert attempt.outcome == "released"


def test_a_job_that_no_node_can_start_is_not_left_on_hold(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    configuration = slurm.configuration.read_text()
    slurm.configuration.write_text(f"{configuration}Prolog=/bin/false\n")
    slurm.command("scontrol", "reconfigure")
    try:
        sweep = Sweep(tmp_path)
        launcher = sweep.launch(1)
        until(lambda: sweep.watch(launcher) and sweep.ends, "the report of the failed start")
    finally:
        slurm.configuration.write_text(configuration)
        slurm.command("scontrol", "reconfigure")
    assert sweep.ends[0].restarted
    assert sweep.ends[0].reason == "its node could not start it (launch failed requeued held)"
    assert "CANCELLED 1" in states_of(slurm, launcher)
    assert launcher.scale(0) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": 0.5}, "whole number with Slurm, but got 0.5"),
        ({"slurm": {"export": "NONE"}}, "must not hold 'export'"),
    ],
)
def test_what_slurm_cannot_do_is_refused_before_anything_starts(
    slurm: SlurmCluster, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    plan = WorkerPlan(study="small", url="", launcher_id="", logs=tmp_path)
    with pytest.raises(SweepError, match=message):
        SlurmLauncher(replace(plan, **changes)).check()


def test_what_slurm_refuses_is_said_in_one_line(slurm: SlurmCluster, tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"sbatch said: .*nvalid partition") as refused:
        Sweep(tmp_path).launch(2, slurm={"partition": "nowhere"})
    assert "\n" not in str(refused.value)


def test_without_slurm_or_its_controller_the_launcher_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = WorkerPlan(study="small", url="", launcher_id="", logs=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SweepError, match=r"commands on the PATH, but 'sbatch' is not there"):
        SlurmLauncher(plan).check()


def test_a_controller_that_does_not_answer_is_named(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "slurm.conf"
    lines = slurm.configuration.read_text().splitlines()
    elsewhere.write_text(
        "\n".join("SlurmctldPort=1" if "SlurmctldPort" in line else line for line in lines)
    )
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    plan = WorkerPlan(study="small", url="", launcher_id="", logs=tmp_path)
    with pytest.raises(SweepError, match="Slurm's controller must answer"):
        SlurmLauncher(plan).check()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:07", 7), ("12:00", 720), ("1:00:01", 3601), ("2-03:00:00", 183600), ("UNLIMITED", None)],
)
def test_slurms_durations_are_read(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds
