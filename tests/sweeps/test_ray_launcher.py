"""Workers on a real Ray cluster of two nodes on this machine, one of which fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher_contract import LONG, Crew, LauncherContract
from postgres_server import missing
from ray_cluster import RayCluster, environment, ray_cluster
from rdsweep_command import Rdsweep
from secret_storage import SecretStorage, secret_storage
from studies.attempts import attempts_of
from studies.database import open_database
from studies.errors import StudiesError
from studies.queries import query_trials
from studies.records import TrialRecord, WorkerRecord
from studies.workers import list_workers
from sweeps.errors import SweepError, SweepWarning
from sweeps.launcher import Launcher, WorkerEnd, WorkerPlan
from sweeps.ray_launcher import RayLauncher
from sweeps.ray_messages import Node
from sweeps.ray_resources import Resources, device_of

PATIENCE_SECONDS = 240.0
ROOM = ("--num-cpus=2", f"--memory={8 * 2**30}")
"""Of each node; to Ray these are only numbers."""

pytestmark = pytest.mark.timeout(600)  # processes of Ray and torch, on machines with two cores


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[RayCluster]:
    with ray_cluster(*ROOM) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.settings.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def cluster(running_cluster: RayCluster) -> RayCluster:
    """A head, and a node `beta` that has a GPU as well."""
    if "beta" not in running_cluster.nodes:
        running_cluster.add_node("beta", *ROOM, "--num-gpus=1")
    return running_cluster


class TestRayLauncher(LauncherContract):
    patience_seconds = PATIENCE_SECONDS
    extra: Mapping[str, Any] = {}

    @pytest.fixture(autouse=True)
    def _on(self, cluster: RayCluster) -> None:
        self.cluster = cluster

    def more(self) -> Mapping[str, Any]:
        return {"ray_address": self.cluster.address, **self.extra}

    def build(self, plan: WorkerPlan) -> RayLauncher:
        return RayLauncher(plan)

    def unfit(self, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch) -> tuple[Launcher, str]:
        nowhere = replace(plan, ray_address="127.0.0.1:1")
        return RayLauncher(nowhere), "^No Ray cluster answers at 127.0.0.1:1 .*ray start --head"

    def test_workers_share_a_gpu_by_fractions_and_wait_where_there_is_no_more(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        """A worker that waits can be given up at any time, and nothing is lost with it."""
        self.extra = {"gpus": 0.5, "device": "auto"}
        crew, launcher = self.crew(crew_of(epochs=LONG))
        assert launcher.usual_workers == 2
        with pytest.warns(SweepWarning, match="has room for 2 of 3 workers at a time"):
            launcher.scale(3)
        crew.watch(lambda: len(crew.training()) == 2, "two workers train")
        raylet = self.cluster.raylet("beta")
        for worker in crew.workers():
            assert {"CUDA_VISIBLE_DEVICES=0", f"RAY_RAYLET_PID={raylet}"} <= settings(worker)
        assert (launcher.running, launcher.waiting) == (3, 1)
        (withdrawn,) = launcher.scale(2)
        crew.watch(lambda: launcher.waiting == 0, "the one that waits is given up")
        assert launcher.running == len(crew.workers(ended=False)) == 2
        assert withdrawn not in {worker.id for worker in crew.workers()}
        assert crew.ends == []

    def test_a_worker_dies_with_its_place_and_all_with_the_connection(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        """Ray hands a place out again at once: a worker that outlived it would be in the way."""
        crew, launcher = self.crew(crew_of(epochs=LONG))
        launcher.scale(1)
        crew.watch(lambda: bool(crew.training()), "it trains")
        (first,) = crew.workers()
        process = psutil.Process(first.pid)
        process.parent().kill()  # type: ignore[union-attr]
        crew.watch(lambda: crew.ends, "the death is reported")
        assert crew.ends == [
            WorkerEnd(
                worker_id=first.id, reason="its worker process has died", restarted=True, dead=True
            )
        ]
        assert process.wait(timeout=60) is None  # not a child of this process
        crew.watch(lambda: len(crew.workers(ended=False)) == 1, "another one has come")
        (second,) = crew.workers(ended=False)
        process = psutil.Process(second.pid)
        connections = [
            one for one in self.cluster.processes() if "sweeps.ray_driver" in words(one)
        ]
        for connection in connections:
            connection.kill()
        crew.watch(lambda: launcher.running == 0, "the launcher notices")
        assert not crew.ends[-1].dead
        assert "connection to the Ray cluster broke" in crew.ends[-1].reason
        assert process.wait(timeout=60) is None

    def test_detached_workers_need_nobody_and_give_their_places_back(
        self, crew_of: Callable[..., Crew]
    ) -> None:
        self.extra = {"detached": True}
        crew, launcher = self.crew(crew_of())
        launcher.scale(2)
        launcher.close()
        until(lambda: len(crew.workers()) == 2)
        until(lambda: not any("sweeps.ray_driver" in words(one) for one in self.processes))
        crew.watch(lambda: len(crew.trials("state = 'complete'")) == 4, "all trials are finished")
        until(lambda: not any("ray::RayWorker" in words(one) for one in self.processes))
        assert len(crew.workers(ended=True)) == 2

    def test_a_node_without_rdsweep_is_told_as_such(
        self, crew_of: Callable[..., Crew], bare_python: str
    ) -> None:
        """Ray itself needs nothing of ours there: the actor's class comes by value."""
        self.cluster.add_node("bare", "--num-cpus=1", "--memory=1000000000000", python=bare_python)
        try:
            self.extra = {"memory_gib": 500}
            crew, launcher = self.crew(crew_of())
            launcher.scale(1)
            crew.watch(lambda: crew.ends, "the worker's end is reported")
            launcher.kill()
        finally:
            self.cluster.fail_node("bare")
        assert "rdsweep must be installed on every node" in crew.ends[0].reason

    def crew(self, crew: Crew) -> tuple[Crew, RayLauncher]:
        assert isinstance(crew.launcher, RayLauncher)
        return crew, crew.launcher

    @property
    def processes(self) -> list[psutil.Process]:
        return self.cluster.processes()


def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"it did not come true in {PATIENCE_SECONDS:g} s"
        time.sleep(0.1)


def words(process: psutil.Process) -> list[str]:
    """The command line of a process; Ray's own are one word."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def settings(worker: WorkerRecord) -> set[str]:
    return environment(worker.pid)


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """A Python with all packages of this one but rdsweep."""
    place = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for package in Path(psutil.__file__).parents[1].iterdir():
        if "rdsweep" not in package.name:
            (packages / package.name).symlink_to(package)
    return str(place / "bin" / "python")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretStorage]:
    """A database for every command, with a password."""
    if missing():
        pytest.skip(missing())
    with secret_storage() as storage:
        monkeypatch.setenv("RDSWEEP_STORAGE", storage.url)
        yield storage


def options(rdsweep: Rdsweep, *more: str) -> list[str]:
    """What a sweep through Ray is started with."""
    own = [f"study.artifacts={rdsweep.folder / 'files'}", "run.device=cpu", *more]
    return ["--launcher", "ray", *(word for setting in own for word in ("--set", setting))]


def trials_of(storage: SecretStorage, where: str | None = None) -> list[TrialRecord]:
    db = open_database(storage.url)
    try:
        return query_trials(db, "small", where=where, order_by="number")
    except StudiesError:  # not made yet
        return []
    finally:
        db.close()


def workers_of(storage: SecretStorage) -> dict[str, WorkerRecord]:
    db = open_database(storage.url)
    workers = {worker.id: worker for worker in list_workers(db, "small")}
    db.close()
    return workers


def test_a_sweep_survives_a_node_and_its_password_is_seen_nowhere(
    cluster: RayCluster, rdsweep: Rdsweep, secret: SecretStorage
) -> None:
    """A node's memory is enough for one worker; the one that lost its node waits for another."""
    spec = str(rdsweep.write_spec(epochs=100))
    more = [f"run.ray_address={cluster.address}", "run.memory_gib=5", "study.trials=4"]
    command = ["run", spec, "--workers", "2", "--no-report", *options(rdsweep, *more)]
    process = rdsweep.start(*command)
    begun = "state = 'running' and 1 <= epoch and epoch < 50"
    until(lambda: len(trials_of(secret, begun)) == 2 or process.poll() is not None)
    raylet = f"RAY_RAYLET_PID={cluster.raylet('beta')}"
    workers = workers_of(secret)
    (victim,) = (
        t for t in trials_of(secret, begun) if raylet in settings(workers[t.worker or ""])
    )
    seen = "\n".join(" ".join(words(one)) for one in psutil.process_iter())
    cluster.fail_node("beta")
    said, _ = process.communicate(timeout=480)
    assert process.returncode == 0, said
    assert f"a worker ended: its node has died; trial {victim.number} goes on elsewhere\n" in said
    trials = {trial.number: trial for trial in trials_of(secret)}
    assert {trial.state for trial in trials.values()} == {"complete"}
    assert {number: trial.attempt for number, trial in trials.items()} == {
        **dict.fromkeys(range(4), 1),
        victim.number: 2,
    }
    assert trials[victim.number].uuid == victim.uuid
    assert len(workers_of(secret)) == 3
    db = open_database(secret.url)
    lost = attempts_of(db, "small", [victim.number])[victim.number][0]
    db.close()
    assert (lost.outcome, lost.reason) == ("lost", "its node has died")
    assert secret.password not in said
    assert secret.password not in seen
    for place in (cluster.folder, rdsweep.folder):
        files = [file for file in place.rglob("*") if file.is_file()]
        assert [file for file in files if secret.password.encode() in file.read_bytes()] == []


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a Ray that knows of no cluster."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets want a short path
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # others run on this machine, too
    yield folder
    for process in living(folder):
        with suppress(psutil.Error):
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def living(folder: Path) -> list[psutil.Process]:
    mine = f"RAY_TMPDIR={folder}"
    return [one for one in psutil.process_iter() if mine in environment(one.pid)]


def test_a_run_without_a_cluster_has_one_of_its_own_that_ends_with_it(
    no_cluster: Path, rdsweep: Rdsweep, secret: SecretStorage
) -> None:
    """Killed without a warning, too: the workers leave at their next epoch, and then Ray does."""
    spec = str(rdsweep.write_spec(epochs=LONG))
    process = rdsweep.start("run", spec, "--workers", "1", *options(rdsweep))
    begun = "state = 'running' and epoch >= 1"
    until(lambda: bool(trials_of(secret, begun)) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    until(lambda: not living(no_cluster))
    (trial,) = trials_of(secret, "epoch >= 1")
    assert trial.state == "queued"
    db = open_database(secret.url)
    (attempt,) = attempts_of(db, "small", [trial.number])[trial.number]
    db.close()
    assert (attempt.outcome, attempt.reason) == ("released", "asked to stop (SIGTERM)")
    assert list(rdsweep.folder.glob("files/small/*/checkpoint-*"))
    lines = [line for line in said.splitlines() if not line.startswith("rdsweep: note: ")]
    assert [line[:12] for line in lines] == ["study small:", "sampler rand"]  # nothing of Ray's
    assert re.search(
        r"1 worker on a Ray cluster of this run's own \(1 node, \d+ CPUs?\b", lines[0]
    )


def refusal(plan: WorkerPlan) -> str:
    """What the launcher says of a plan, in one line."""
    with pytest.raises(SweepError, match=r"\A.+\Z") as refused:
        RayLauncher(plan).check()
    return str(refused.value)


@pytest.fixture
def plan(tmp_path: Path) -> WorkerPlan:
    return WorkerPlan(study="small", url="", launcher_id="launcher", logs=tmp_path / "logs")


def test_detached_workers_are_refused_where_no_cluster_would_outlive_the_command(
    no_cluster: Path, plan: WorkerPlan
) -> None:
    assert "none is at hand" in refusal(replace(plan, detached=True))


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refusal(plan) == "The launcher ray needs Ray: pip install 'rdsweep[ray]'."


def test_a_gpu_device_without_a_gpu_is_refused(plan: WorkerPlan) -> None:
    assert "run.gpus must be above 0" in refusal(replace(plan, device="cuda", gpus=0.0))


def test_a_cluster_that_wants_its_token_is_told_as_such(
    cluster: RayCluster, plan: WorkerPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_NUM_REDIS_GET_RETRIES", "2")  # it tries for 20 s otherwise
    assert "set RAY_AUTH_MODE=token" in refusal(replace(plan, ray_address=cluster.address))


CALL_IT = """
import json, sys
from ray._raylet import GcsClient
control = GcsClient(address=sys.argv[1])
known = json.loads(control.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster"))
data = json.dumps(known | {"ray_version": sys.argv[2]}).encode()
control.internal_kv_put(b"CLUSTER_METADATA", data, True, namespace=b"cluster")
print(known["ray_version"])
"""
"""Ray's own way to write down which version a cluster has."""


def test_a_cluster_of_another_version_is_told_as_such(
    cluster: RayCluster, plan: WorkerPlan
) -> None:
    def call_it(version: str) -> str:
        command = [sys.executable, "-c", CALL_IT, cluster.address, version]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    known = call_it("1.0.0")
    try:
        said = refusal(replace(plan, ray_address=cluster.address))
    finally:
        call_it(known)
    assert f"The nodes of the Ray cluster at {cluster.address} must run the Ray and" in said
    assert "Ray: 1.0.0" in said
    assert known in said


def test_a_wish_that_no_node_can_fulfil_is_said_before_anything_waits_for_it(
    cluster: RayCluster, plan: WorkerPlan
) -> None:
    """On a cluster that stays, a node may come that can."""
    launcher = RayLauncher(replace(plan, ray_address=cluster.address, threads=64, device="cpu"))
    message = r"wants 64 CPUs, but no node of the Ray cluster at \S+ \(2 nodes, 4 CPUs, 1 GPU\)"
    with pytest.warns(SweepWarning, match=message):
        launcher.check()
    assert launcher.usual_workers == 1
    launcher.close()


@pytest.mark.parametrize(
    ("wish", "room"),
    [
        ({}, 12),
        ({"threads": 3}, 3),
        ({"threads": 5}, 1),
        ({"device": "auto"}, 2),
        ({"gpus": 0.5}, 4),
        ({"gpus": 0.3}, 6),
        ({"gpus": 2.0}, 1),
        ({"gpus": 0.0, "memory_gib": 16.0}, 2),
        ({"gpus": 0.1, "threads": 2}, 4),
    ],
)
def test_as_many_workers_fit_as_can_be_counted_by_hand(
    plan: WorkerPlan, wish: dict[str, Any], room: int
) -> None:
    """On two nodes of 4 and 8 CPUs, the larger of which has two GPUs."""
    small = Node(cpus=4, gpus=0, memory=8 * 2**30)
    large = Node(cpus=8, gpus=2, memory=32 * 2**30)
    wanted = Resources.of(replace(plan, **{"device": "cpu", **wish}), [small, large])
    assert wanted.room([small, large]) == room


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        ("auto", 0.0, "cpu"),
        ("auto", 0.5, "auto"),
        ("cuda:3", 1.0, "cuda:0"),
        ("cpu", 0.5, "cpu"),
    ],
)
def test_a_worker_sees_only_its_own_gpu_and_so_calls_it_the_first(
    plan: WorkerPlan, device: str, gpus: float, expected: str
) -> None:
    assert device_of(replace(plan, device=device), gpus) == expected
