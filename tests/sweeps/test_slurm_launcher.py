"""Workers in jobs of a real Slurm: they go and come back with their jobs, and lose nothing."""

import getpass
import os
import time
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from sqlalchemy import make_url, text

from launcher_contract import LONG, STUDY, Crew, LauncherContract
from postgres_server import empty_database, missing, server_url
from rdsweep_command import SPEC, Rdsweep
from slurm_cluster import SlurmCluster, slurm_cluster, why_not
from studies.attempts import attempts_of
from studies.database import open_database
from studies.orders import order_stop
from studies.queries import query_trials
from sweeps.errors import SweepError
from sweeps.launcher import Launcher, WorkerEnd, WorkerPlan
from sweeps.slurm_launcher import SlurmLauncher
from sweeps.slurm_queue import duration_seconds
from sweeps.slurm_submission import parameters
from sweeps.spec import Spec
from sweeps.stopping import StopRequest
from sweeps.study_setup import prepare_study

PATIENCE_SECONDS = 240.0
pytestmark = pytest.mark.timeout(600)  # on a busy machine each worker takes its time to start


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


class TestSlurmLauncher(LauncherContract):
    patience_seconds = PATIENCE_SECONDS

    @pytest.fixture(autouse=True)
    def cluster_without_jobs(self, slurm: SlurmCluster) -> None:
        """Each test has the cluster for itself."""

    def build(self, plan: WorkerPlan) -> Launcher:
        return SlurmLauncher(plan)

    def unfit(self, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch) -> tuple[Launcher, str]:
        monkeypatch.setenv("PATH", "/nowhere")
        return self.build(plan), "commands on the PATH, but 'sbatch' is not there"


class Sweep(Crew):
    """A study on the digits whose trials never end, and the workers of a launcher on it."""

    @classmethod
    def of(cls, folder: Path, *, trials: int, epochs: int = LONG, **plan: Any) -> Self:
        """With a launcher that has started nothing yet."""
        document = tomllib.loads(SPEC.format(epochs=epochs))
        document["study"] |= {"artifacts": str(folder / "files"), "trials": trials}
        document["run"]["lease_seconds"] = 8
        db = open_database(f"sqlite:///{folder / 'rdsweep.db'}", patience_seconds=60)
        prepare_study(Spec.from_dict(document), db)
        launcher = SlurmLauncher(plan_of(folder, url=db.url, **plan))
        return cls(db, folder / "files", launcher, PATIENCE_SECONDS)

    def trained(self, number: int) -> dict[int, list[int]]:
        """The epochs that are stored of a trial, by the attempt that trained them."""
        found: dict[int, list[int]] = {}
        query = (
            "SELECT rdsweep_epochs.attempt, rdsweep_epochs.epoch FROM rdsweep_epochs JOIN "
            "rdsweep_trials ON rdsweep_trials.id = trial_id WHERE number = :number ORDER BY 2"
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
        (trial,) = self.trials(f"number = {number}")
        return trial.worker or ""

    def check_takeover(self, number: int) -> None:
        """The second attempt went on where the first one had a checkpoint, in the same job."""
        before, after = self.trained(number).values()
        assert after[0] == before[-1] + 1 > 1
        assert restarts_of(self.worker_of(number)) == 1


def plan_of(folder: Path, **plan: Any) -> WorkerPlan:
    """A plan of workers on the CPU."""
    usual = {"study": STUDY, "url": "", "launcher_id": "", "device": "cpu", "grace_seconds": 30}
    return WorkerPlan(**{"logs": folder / "logs", **usual, **plan})


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
    launcher = SlurmLauncher(plan_of(tmp_path, slurm=extra, **resources))
    launcher.scale(3)
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


def test_a_launcher_that_runs_in_a_job_does_not_pass_that_job_on(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"JOB_ID": "77", "NTASKS": "9", "ARRAY_JOB_ID": "70"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    launcher = SlurmLauncher(plan_of(tmp_path, url="sqlite:///a.db", slurm={"hold": True}))
    launcher.scale(1)
    kept = slurm.folder.glob("state/hash.*/job.*/environment")
    newest = max(kept, key=lambda file: file.stat().st_mtime_ns)
    variables = newest.read_bytes().decode(errors="replace").split("\0")
    assert "RDSWEEP_STORAGE=sqlite:///a.db" in variables
    assert not [one for one in variables if one.startswith(("SLURM_NTASKS", "SLURM_ARRAY"))]
    assert os.environ["SLURM_NTASKS"] == "9"
    assert "RDSWEEP_STORAGE" not in os.environ


def test_jobs_that_wait_are_cancelled_first_and_name_no_worker(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    launcher = SlurmLauncher(plan_of(tmp_path, slurm={"hold": True}))
    launcher.scale(4)
    assert launcher.running == 4
    assert launcher.scale(3) == []
    assert launcher.running == 3
    launcher.stop()
    assert launcher.running == 0
    again = SlurmLauncher(plan_of(tmp_path, slurm={"hold": True}))
    again.scale(1)
    assert again.kill() == []
    assert slurm.command("squeue", "--noheader") == ""


def test_jobs_that_a_person_cancels_before_they_run_are_not_submitted_again(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    """The controller forgets them at once."""
    sweep = Sweep.of(tmp_path, trials=1, slurm={"hold": True})
    sweep.launcher.scale(3)
    slurm.command("scancel", "--state=PENDING", "--user", getpass.getuser())
    sweep.watch_to_the_end()
    assert [end.reason for end in sweep.ends] == ["its job was cancelled"] * 3
    assert not any(end.restarted for end in sweep.ends)


def test_a_worker_gets_one_gpu_where_the_partition_has_any_and_none_where_it_has_none(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    asked = [
        parameters(plan_of(tmp_path, **plan))["additional_parameters"].get("gres")
        for plan in (
            {"device": "auto"},
            {"device": "auto", "slurm": {"partition": "low"}},
            {"device": "cpu"},
            {"device": "auto", "gpus": 2.0},
            {"device": "auto", "slurm": {"gres": "shard:1"}},
        )
    ]
    assert asked == ["gpu:1", None, None, "gpu:2", "shard:1"]


@pytest.fixture
def secret_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The password in the URL of a PostgreSQL database, which every command here uses."""
    if missing():
        pytest.skip(missing())
    import psycopg

    role, password = f"role_{uuid.uuid4().hex}", "unforgettable"
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        with empty_database() as url:
            parsed = make_url(url)
            connection.execute(f"ALTER DATABASE {parsed.database} OWNER TO {role}")
            storage = parsed.set(username=role, password=password)
            monkeypatch.setenv("RDSWEEP_STORAGE", storage.render_as_string(hide_password=False))
            yield password
        connection.execute(f"DROP ROLE {role}")


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
        commands += "".join(
            " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])
        )
        for job in slurm.command("squeue", "--noheader", "--format=%A").split():
            scripts += slurm.command("scontrol", "write", "batch_script", job, "-")
        time.sleep(1.0)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.returncode == 0, output
    db = open_database(os.environ["RDSWEEP_STORAGE"])
    trials = query_trials(db, "small")
    assert [trial.state for trial in trials] == ["complete"] * 8
    assert all((trial.worker or "").startswith("slurm-") for trial in trials)
    db.close()
    assert "submitit.core._submit" in scripts
    assert "sweeps.cli worker small" in commands
    for written in (output, scripts, commands):
        assert secret_storage not in written
    stored = [file for file in rdsweep.folder.rglob("*") if file.is_file()]
    assert any("submitted.pkl" in file.name for file in stored)
    assert [file for file in stored if secret_storage.encode() in file.read_bytes()] == []


def test_trials_go_on_from_their_checkpoints_after_a_requeue_a_warning_and_a_failed_node(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep.of(tmp_path, trials=3)
    sweep.launcher.scale(3)
    sweep.watch(lambda: all(map(sweep.checkpoints, range(3))), "a checkpoint of each trial")
    numbers = {sweep.worker_of(number): number for number in range(3)}
    nodes = slurm.nodes()
    alone = next(n for n in slurm.NODES if list(nodes.values()).count(n) == 1)
    lost, requeued, warned = sorted(numbers, key=lambda worker: nodes[job_of(worker)] != alone)

    slurm.command("scontrol", "requeue", job_of(requeued))
    slurm.command("scancel", "--signal=USR1", job_of(warned))
    slurm.fail_node(alone)
    came_back = "a second attempt at each trial"
    sweep.watch(lambda: all(sweep.attempts(number) == 2 for number in range(3)), came_back)

    for number in range(3):
        sweep.check_takeover(number)
    (end,) = sweep.ends
    assert (end.worker_id, end.restarted, end.dead) == (lost, True, False)
    assert "its job was requeued by Slurm" in end.reason
    history = attempts_of(sweep.db, STUDY, range(3))
    assert history[numbers[lost]][0].outcome == "lost"
    assert history[numbers[requeued]][0].reason == "asked to stop (SIGTERM)"
    assert history[numbers[warned]][0].reason == "asked to stop (SIGUSR1)"

    order_stop(sweep.db, STUDY, "now")
    sweep.watch_to_the_end()  # an order does not bring the jobs back
    assert slurm.states() == ["COMPLETED 1"] * 3


def test_a_preempted_worker_comes_back_with_its_job_and_a_cancelled_one_does_not(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep.of(tmp_path, trials=1, slurm={"partition": "low"})
    sweep.launcher.scale(1)
    sweep.watch(lambda: sweep.attempts(0) == 1, "the first epoch")
    urgent = ["--partition=high", "--cpus-per-task=4", "--output=/dev/null", "--wrap=sleep 1"]
    slurm.command("sbatch", *urgent)
    sweep.watch(lambda: sweep.attempts(0) == 2, "an epoch of the second attempt")
    sweep.check_takeover(0)
    assert sweep.ends == []

    worker = sweep.worker_of(0)
    slurm.command("scancel", job_of(worker))
    sweep.watch_to_the_end()
    cancelled = "its job was cancelled"
    assert sweep.ends == [WorkerEnd(worker_id=worker, reason=cancelled, restarted=False)]
    assert sweep.trials()[0].state == "queued"
    assert sweep.checkpoints(0)
    assert not sweep.launcher.ended_well


def test_a_worker_knows_its_time_limit_and_starts_no_trial_that_it_cannot_finish(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = Sweep.of(tmp_path, trials=1000, epochs=2, time_limit_minutes=10)
    sweep.launcher.scale(1)
    sweep.watch(lambda: sweep.trials("state = 'complete'"), "a finished trial")
    (worker,) = sweep.workers()
    words = psutil.Process(worker.pid).cmdline()
    limit = int(words[words.index("--time-limit") + 1])
    assert 0 < limit <= 600
    in_all = StopRequest(time_limit=limit, grace=120).seconds_in_all
    assert in_all is not None
    longest = (in_all - 1) / 1.5  # just what a worker takes on that has all its time before it
    with sweep.db.write() as connection:
        statement = text("UPDATE rdsweep_attempts SET started_at = ended_at - :longest")
        connection.execute(statement, {"longest": longest})
    sweep.watch(lambda: slurm.states() == ["PENDING 1"], "the job is in the queue again")
    (worker,) = sweep.workers()
    assert worker.reason == "its time limit is too near for another trial"
    assert not sweep.trials("state = 'running'")
    assert sweep.launcher.running == 1
    assert sweep.ends == []


def test_a_job_that_no_node_can_start_is_not_left_on_hold(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    configuration = slurm.configuration.read_text()
    slurm.configuration.write_text(f"{configuration}Prolog=/bin/false\n")
    slurm.command("scontrol", "reconfigure")
    try:
        sweep = Sweep.of(tmp_path, trials=1)
        sweep.launcher.scale(1)
        sweep.watch(lambda: sweep.ends, "the failed start is reported")
    finally:
        slurm.configuration.write_text(configuration)
        slurm.command("scontrol", "reconfigure")
    assert sweep.ends[0].restarted
    assert sweep.ends[0].reason == "its node could not start it (launch failed requeued held)"
    assert "CANCELLED 1" in slurm.states()


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
    with pytest.raises(SweepError, match=message):
        SlurmLauncher(plan_of(tmp_path, **changes)).check()


def test_what_slurm_refuses_is_said_in_one_line(slurm: SlurmCluster, tmp_path: Path) -> None:
    launcher = SlurmLauncher(plan_of(tmp_path, slurm={"partition": "nowhere"}))
    with pytest.raises(SweepError, match=r"sbatch said: .*nvalid partition") as refused:
        launcher.scale(2)
    assert "\n" not in str(refused.value)


def test_a_controller_that_does_not_answer_is_named(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "slurm.conf"
    lines = slurm.configuration.read_text().splitlines()
    elsewhere.write_text(
        "\n".join("SlurmctldPort=1" if "SlurmctldPort" in line else line for line in lines)
    )
    monkeypatch.setenv("SLURM_CONF", str(elsewhere))
    with pytest.raises(SweepError, match="Slurm's controller must answer"):
        SlurmLauncher(plan_of(tmp_path)).check()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:07", 7), ("12:00", 720), ("1:00:01", 3601), ("2-03:00:00", 183600), ("UNLIMITED", None)],
)
def test_slurms_durations_are_read(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds
