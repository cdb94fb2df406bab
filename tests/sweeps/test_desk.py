"""The process that makes the suggestions: whoever dies or sleeps, no trial is lost or made twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import doomed_desk
from agreement import all_rows, check_finished, optuna_trials
from patience import until
from rdsweep_command import SPEC, Rdsweep
from studies.database import open_database
from studies.queue import outlook
from studies.records import Lease
from studies.sampler_lease import acquire_sampler, release_sampler, sampler_holder
from studies.workers import describe_worker, touch_worker
from sweeps.desk_process import DeskProcess
from sweeps.errors import SweepError
from sweeps.space import fingerprint
from toy_sweeps import BETA, TREE, ToySweep
from toy_workers import ToyWorker, register, smooth

SMALL = {"latent_dim": [2, 4, 8], "reduction": ["sum", "mean"], "learning_rate": [1e-3, 1e-2]}
LEASE = 2.0
SHORT = {"lease_seconds": LEASE}


def desks_of(process: psutil.Process) -> list[psutil.Process]:
    """The desks that a process has started."""
    return [child for child in process.children() if _is_desk(child)]


def _is_desk(process: psutil.Process) -> bool:
    try:
        return "desk" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def work_in_threads(workers: Sequence[ToyWorker]) -> list[list[int]]:
    """Lets them all work to the end of the study; what each of them finished."""
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(ToyWorker.work, workers))


def workers_of(
    sweep: ToySweep, count: int, outcome: Callable[[Lease], Any] = smooth
) -> list[ToyWorker]:
    names = [f"worker-{index}" for index in range(count)]
    seconds = sweep.spec.run.lease_seconds
    return [
        ToyWorker(db=sweep.db, study="toy", worker_id=name, lease_seconds=seconds, outcome=outcome)
        for name in names
    ]


class TestADeskAtAnyPointOfItsWork:
    """Two trials are suggested and told before the point is reached, two are wanted at a time."""

    @pytest.fixture
    def sweep(self, tmp_path: Path) -> ToySweep:
        sweep = ToySweep.create(tmp_path, SMALL, sampler="grid", trials=12, run=SHORT)
        for name in ("toy", "toy-2"):
            register(sweep.db, "toy", name)
        return sweep

    def until_it_ends_or_sleeps(self, sweep: ToySweep, process: subprocess.Popen[str]) -> None:
        """Takes and finishes trials meanwhile, one of the two at hand."""

        def ended() -> bool:
            touch_worker(sweep.db, "toy")
            lease = sweep.take("toy")
            if lease is not None:
                sweep.finish(lease, smooth(lease))
            status = psutil.Process(process.pid).status()
            return status in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)

        until(ended)

    @pytest.mark.parametrize("point", doomed_desk.POINTS)
    def test_it_is_killed_and_the_next_one_finishes_what_it_left(
        self, sweep: ToySweep, point: str
    ) -> None:
        assert acquire_sampler(sweep.db, "toy", "doomed/desk", 30.0)
        with doomed_desk.start(sweep.db.url, "doomed/desk", point, signal.SIGKILL) as process:
            self.until_it_ends_or_sleeps(sweep, process)
        assert process.returncode == -signal.SIGKILL
        waiting = self.suggested_and_not_queued(sweep)
        until(lambda: acquire_sampler(sweep.db, "toy", "worker", LEASE))
        sweep.drive(smooth, batch=2)
        sweep.desk().settle()
        records = check_finished(sweep.db, "toy", 12)
        assert waiting <= {fingerprint(record.parameters) for record in records}
        assert len(waiting) == (point in ("after the commit", "before the queue"))

    def suggested_and_not_queued(self, sweep: ToySweep) -> set[str]:
        """What the dead has asked for in whole, and nobody can take yet."""
        stored = {record.number for record in sweep.trials()}
        found = optuna_trials(sweep.db, "toy").values()
        whole = [trial for trial in found if "rdsweep:suggested" in trial.user_attrs]
        return {fingerprint(trial.params) for trial in whole if trial.number not in stored}

    @pytest.mark.parametrize("point", ["after ask", "before the queue", "before telling"])
    def test_it_sleeps_past_its_lease_and_can_do_nothing_when_it_wakes(
        self, sweep: ToySweep, point: str
    ) -> None:
        """Even though its successor has given the lease back, so that nobody holds it."""
        assert acquire_sampler(sweep.db, "toy", "sleeper/desk", 30.0)
        with doomed_desk.start(sweep.db.url, "sleeper/desk", point, signal.SIGSTOP) as process:
            try:
                self.until_it_ends_or_sleeps(sweep, process)
                until(lambda: acquire_sampler(sweep.db, "toy", "worker", LEASE))
                sweep.drive(smooth, batch=2)
                sweep.desk().settle()
                assert sampler_holder(sweep.db, "toy") is None
                before = all_rows(sweep.db)
            finally:
                process.send_signal(signal.SIGCONT)
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert all_rows(sweep.db) == before
        check_finished(sweep.db, "toy", 12)


class TestWorkersAndTheirDesk:
    def test_a_desk_that_is_killed_again_and_again_is_replaced(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, TREE, sampler="tpe", trials=12)
        killed: list[int] = []

        def outcome(lease: Lease) -> tuple[float, float]:
            desks = desks_of(psutil.Process())
            if desks and len(killed) < 3 and desks[0].pid not in killed:
                killed.append(desks[0].pid)
                desks[0].kill()
            return smooth(lease)

        work_in_threads(workers_of(sweep, 2, outcome))
        check_finished(sweep.db, "toy", 12)
        assert len(killed) == 3

    def test_when_the_study_is_over_all_leave_and_the_lease_is_free(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=5)
        done = work_in_threads(workers_of(sweep, 3))
        assert sorted(number for numbers in done for number in numbers) == [0, 1, 2, 3, 4]
        assert sampler_holder(sweep.db, "toy") is None
        assert desks_of(psutil.Process()) == []

    def test_when_the_space_is_exhausted_all_leave_and_the_study_says_so(
        self, tmp_path: Path
    ) -> None:
        sweep = ToySweep.create(tmp_path, SMALL, sampler="tpe", trials=20)
        work_in_threads(workers_of(sweep, 2))
        assert outlook(sweep.db, "toy").exhausted
        check_finished(sweep.db, "toy", 12)

    def test_eight_workers_at_once_never_get_the_same_settings(self, tmp_path: Path) -> None:
        space = {"latent_dim": {"low": 2, "high": 9}, "reduction": ["sum", "mean", "pixel_mean"]}
        sweep = ToySweep.create(tmp_path, space, sampler="tpe", trials=24)
        done = work_in_threads(workers_of(sweep, 8))
        check_finished(sweep.db, "toy", 24)
        assert sum(map(len, done)) == 24

    def test_a_seeded_study_of_one_worker_repeats_though_its_desk_is_killed_between_trials(
        self, tmp_path: Path
    ) -> None:
        def restarting(lease: Lease) -> tuple[float, float]:
            if lease.number % 5 == 2:
                (desk,) = desks_of(psutil.Process())
                desk.kill()
                desk.wait()
            return smooth(lease)

        found = []
        for name, outcome in (("undisturbed", smooth), ("disturbed", restarting)):
            sweep = ToySweep.create(tmp_path / name, TREE, sampler="tpe", trials=16)
            work_in_threads(workers_of(sweep, 1, outcome))
            found.append({t.number: t.parameters for t in check_finished(sweep.db, "toy", 16)})
        assert found[0] == found[1]

    def test_a_desk_leaves_with_its_worker(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=5)
        desk = DeskProcess(sweep.db, "toy", "worker", 60.0)
        desk.ensure()
        register(sweep.db, "toy", "worker")
        until(lambda: outlook(sweep.db, "toy").queued == 1)
        desk.close()
        assert sampler_holder(sweep.db, "toy") is None
        assert desks_of(psutil.Process()) == []

    def test_packs_find_a_quarter_more_than_they_hold(self, tmp_path: Path) -> None:
        """A slot that becomes free need not wait for the sampler."""
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, sampler="random", trials=50)
        register(sweep.db, "toy", "packed")
        describe_worker(sweep.db, "packed", {"slots": 9})
        desk = DeskProcess(sweep.db, "toy", "packed", 60.0)
        desk.ensure()
        until(lambda: outlook(sweep.db, "toy").queued == 11)
        desk.close()

    def test_a_desk_whose_lease_another_has_taken_leaves(self, tmp_path: Path) -> None:
        sweep = ToySweep.create(tmp_path, {"beta": BETA}, trials=5, run={"lease_seconds": 0.5})
        desk = DeskProcess(sweep.db, "toy", "worker", 0.5)
        desk.ensure()
        release_sampler(sweep.db, "toy", "worker/desk")
        assert acquire_sampler(sweep.db, "toy", "other", 60.0)
        until(lambda: desks_of(psutil.Process()) == [])
        desk.close()
        assert sampler_holder(sweep.db, "toy") is not None

    def test_what_the_desk_says_to_its_user_ends_the_worker(self, tmp_path: Path) -> None:
        import optuna

        sweep = ToySweep.create(tmp_path, {"beta": BETA}, trials=5)
        optuna.delete_study(study_name="toy", storage=sweep.db.url)
        (worker,) = workers_of(sweep, 1)
        with pytest.raises(SweepError, match=r"^Study 'toy' must have an Optuna study beside it"):
            worker.work()


def test_a_desk_outlives_a_restart_of_its_server(tmp_path: Path) -> None:
    from postgres_server import PrivateServer, missing

    if reason := missing():
        pytest.skip(reason)
    with PrivateServer() as server:
        sweep = ToySweep.create(tmp_path, TREE, url=server.url, sampler="tpe", trials=16)
        desks: set[int] = set()

        def outcome(lease: Lease) -> tuple[float, float]:
            desks.update(desk.pid for desk in desks_of(psutil.Process()))
            if lease.number in (4, 10):
                server.stop("immediate")
                server.start()
            return smooth(lease)

        work_in_threads(workers_of(sweep, 2, outcome))
        check_finished(sweep.db, "toy", 16)
        assert len(desks) == 1
        sweep.db.close()


WORKER = """
import sys
from studies.database import open_database
from sweeps.worker import WorkerOptions, run_worker
status = run_worker("small", open_database(sys.argv[1]), WorkerOptions())
print(status, [name for name in sys.modules if name.split(".")[0] == "optuna"])
"""


def test_a_worker_trains_to_the_end_of_its_study_without_optuna(rdsweep: Rdsweep) -> None:
    from sweeps.spec import load_spec
    from sweeps.study_setup import prepare_study

    prepare_study(load_spec(rdsweep.write_spec(text=SPEC), []), open_database(rdsweep.url))
    done = subprocess.run(
        [sys.executable, "-c", WORKER, rdsweep.url],
        cwd=rdsweep.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    check_finished(open_database(rdsweep.url), "small", 8)
