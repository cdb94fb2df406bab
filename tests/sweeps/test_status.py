"""Status tells who works on a study, on what, how fast, and what went wrong, a line each."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import event, text

import postgres_server
from rdsweep_command import Rdsweep
from studies.database import Database, open_database, prepare_schema
from studies.launchers import register_launcher
from studies.leases import release_trial, release_worker, take_trial
from studies.orders import order_stop, order_worker_stop
from studies.outcomes import diverge_trial, finish_trial, store_epoch
from studies.queue import add_trials
from studies.records import Lease
from studies.sampler_lease import acquire_sampler
from studies.workers import end_worker, register_worker, touch_worker
from study_examples import EVALUATION, LATENTS, epoch_record, new_trial, study_of
from sweeps.status import StudyStatus, status_of
from sweeps.status_text import render_status

SPEC = {"run": {"lease_seconds": 40.0}}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'rdsweep.db'}")
    prepare_schema(opened)
    yield opened
    opened.close()


@pytest.fixture
def study(db: Database) -> str:
    return study_of(db, 4, spec=SPEC, trials_wanted=8)


def register(db: Database, study: str, name: str, *, host: str = "elsewhere", **more: Any) -> None:
    register_worker(
        db,
        study,
        name,
        **{
            "host": host,
            "pid": 4321,
            "process_started_at": 0.0,
            "device": "cuda:0",
            "versions": {},
            **more,
        },
    )


def take(db: Database, study: str, worker: str) -> Lease:
    lease = take_trial(db, study, worker, lease_seconds=40.0, max_attempts=3)
    assert lease is not None
    return lease


def silence(db: Database, worker: str, seconds: float) -> None:
    with db.write() as connection:
        statement = "UPDATE rdsweep_workers SET seen_at = seen_at - :seconds WHERE id = :worker"
        connection.execute(text(statement), {"seconds": seconds, "worker": worker})


def status(db: Database, study: str) -> StudyStatus:
    (found,) = status_of(db, study)
    return found


def lines(db: Database, study: str) -> list[str]:
    return render_status([status(db, study)], as_json=False).splitlines()


def line_with(db: Database, study: str, word: str) -> str:
    (line,) = (line for line in lines(db, study) if word in line)
    return line


class TestWorkers:
    @pytest.mark.parametrize(
        ("seconds", "liveness"),
        [(0, "alive"), (9, "alive"), (12, "late"), (39, "late"), (42, "dead")],
    )
    def test_are_late_after_two_beats_and_dead_after_a_lease(
        self, db: Database, study: str, seconds: float, liveness: str
    ) -> None:
        """A beat is 5 s at most, the lease is 40 s."""
        register(db, study, "w")
        silence(db, "w", seconds)
        (worker,) = status(db, study).workers
        assert worker.liveness == liveness

    def test_of_this_machine_are_dead_as_soon_as_their_process_is_gone(
        self, db: Database, study: str
    ) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        me = psutil.Process()
        register(db, study, "gone", host=socket.gethostname(), pid=ended.pid)
        register(
            db,
            study,
            "me",
            host=socket.gethostname(),
            pid=me.pid,
            process_started_at=me.create_time(),
        )
        found = {worker.id: worker.liveness for worker in status(db, study).workers}
        assert found == {"gone": "dead", "me": "alive"}

    def test_that_have_ended_are_not_listed(self, db: Database, study: str) -> None:
        register(db, study, "w")
        end_worker(db, "w")
        assert status(db, study).workers == []
        assert status(db, study).problems == []

    def test_tell_what_they_have_in_hand(self, db: Database, study: str) -> None:
        register(db, study, "w")
        store_epoch(db, take(db, study, "w"), epoch_record(1))
        line = line_with(db, study, "elsewhere:4321")
        assert "alive  elsewhere:4321  cuda:0  trial 0, epoch 1/20" in line
        assert "R = 1.00 nats, D = 20.00 SE" in line
        assert line.endswith((", lease 40 s", ", lease 39 s", ", lease 38 s"))

    def test_of_packs_tell_all_that_they_have_in_hand(self, db: Database) -> None:
        study = study_of(db, 12, spec=SPEC)
        register(db, study, "w")
        register(db, study, "idle", pid=99)
        for _ in range(10):
            store_epoch(db, take(db, study, "w"), epoch_record(1))
        packed, idle = sorted(status(db, study).workers, key=lambda worker: worker.trial is None)
        assert [trial.number for trial in packed.trials] == list(range(10))
        assert packed.trial == packed.trials[0]
        assert (idle.trial, idle.trials) == (None, [])
        assert line_with(db, study, ":4321").endswith("cuda:0  10 trials in hand")
        said = lines(db, study)
        assert sum("epoch 1/20, R = 1.00 nats, D = 20.00 SE, lease" in line for line in said) == 8
        assert "           and 2 more trials" in said

    def test_tell_the_distortion_that_the_study_is_about(self, db: Database) -> None:
        study = study_of(db, 1, spec=SPEC, distortion="nll")
        register(db, study, "w")
        store_epoch(db, take(db, study, "w"), epoch_record(1))
        assert "D = 100.00 nats" in line_with(db, study, "elsewhere:4321")

    def test_tell_what_hinders_them_and_what_they_were_ordered(
        self, db: Database, study: str
    ) -> None:
        register(db, study, "w")
        touch_worker(db, "w", "trial 0: the disk must have room, but it is full.")
        order_worker_stop(db, ["w"], "drain")
        assert "no trial in hand, ordered to leave (drain)" in line_with(db, study, ":4321")
        assert line_with(db, study, "disk").strip().startswith("trial 0: the disk must")

    def test_that_are_silent_say_for_how_long(self, db: Database, study: str) -> None:
        register(db, study, "w")
        silence(db, "w", 130)
        assert "silent for 2 min 10 s" in line_with(db, study, ":4321")
        assert line_with(db, study, "  workers ").endswith("1 dead")

    def test_of_hundreds_those_with_troubles_are_shown_and_the_others_counted(
        self, db: Database, study: str
    ) -> None:
        for number in range(60):
            register(db, study, f"w{number}", pid=1000 + number)
        silence(db, "w59", 100)
        said = lines(db, study)
        assert "  workers     59 alive, 1 dead" in said
        assert any(":1059" in line for line in said)
        assert sum("alive  elsewhere" in line for line in said) == 39
        assert "    and 20 more" in said


class TestAStudy:
    def test_counts_its_trials_and_what_is_to_be_done(self, db: Database, study: str) -> None:
        finish_trial(db, take(db, study, "w"), EVALUATION, LATENTS, [])
        take(db, study, "w")
        said = lines(db, study)
        assert said[0] == "digits-beta  (digits, D in SE)"
        assert said[1] == "  trials      1 of 8 finished (2 queued, 1 running, 1 complete)"
        assert said[2].startswith("  front       1 trials, hypervolume ")
        queue = "  queue       2 queued, 1 running, 1 finished that the sampler is to be told"
        assert queue in said

    def test_says_who_asks_the_sampler(self, db: Database, study: str) -> None:
        assert status(db, study).sampler is None
        register(db, study, "w")
        acquire_sampler(db, study, "w/desk", 30.0)
        found = status(db, study).sampler
        assert found is not None
        assert (found.holder, found.where) == ("w/desk", "elsewhere:4321")
        assert found.seconds_left == pytest.approx(30, abs=5)
        assert "asked by elsewhere:4321, whose lease lasts" in line_with(db, study, "  sampler ")

    def test_says_that_a_sampler_lease_ran_out(self, db: Database, study: str) -> None:
        acquire_sampler(db, study, "somebody/desk", -70.0)
        line = line_with(db, study, "  sampler ")
        ran_out = "nobody asks it: the lease of somebody/desk ran out 1 min"
        assert re.search(rf"{ran_out} [1-5]\d s ago", line)  # 10 s, and what the test took

    def test_says_that_it_is_ordered_to_stop(self, db: Database, study: str) -> None:
        assert status(db, study).stop is None
        order_stop(db, study, "now")
        assert line_with(db, study, "  stop ").endswith(
            "now: every worker leaves at its next epoch"
        )

    def test_names_its_launchers(self, db: Database, study: str) -> None:
        register_launcher(
            db,
            study,
            "l",
            kind="slurm",
            host="login",
            pid=77,
            process_started_at=0.0,
            workers_wanted=64,
        )
        line = line_with(db, study, "  launcher ")
        assert line == "  launcher    slurm on login:77, alive, keeps 64 workers"

    def test_tells_of_trials_whose_worker_has_ended(self, db: Database, study: str) -> None:
        register(db, study, "w")
        take(db, study, "w")
        end_worker(db, "w", "the disk was full")
        line = line_with(db, study, "has lost its worker")
        assert "trial 0 has lost its worker after epoch 0/20; any worker takes it over" in line

    def test_speed_and_the_time_left_are_told(self, db: Database, study: str) -> None:
        finish_trial(db, take(db, study, "w"), EVALUATION, LATENTS, [])
        take(db, study, "w")
        line = line_with(db, study, "throughput")
        assert " trials/hour, " in line
        assert " epochs/s in the last " in line
        assert line.endswith(" left")


class TestWhatWentWrong:
    def test_earlier_attempts_are_told_in_a_line_for_each_trial(
        self, db: Database, study: str
    ) -> None:
        for _ in range(2):
            release_trial(db, take(db, study, "w"), "asked to stop")
        take(db, study, "w")
        release_worker(db, "w", "killed by SIGKILL")
        take(db, study, "w")
        assert status(db, study).attempts == {"lost": 1, "released": 2, "running": 1}
        assert line_with(db, study, "before it") == (
            "    trial 0  attempt 4 runs; before it 2 released (asked to stop), "
            "1 lost (killed by SIGKILL)"
        )

    def test_diverged_trials_come_last_finished_first_and_are_cut_after_twenty(
        self, db: Database
    ) -> None:
        study = study_of(db, 31, spec=SPEC, trials_wanted=31)
        for number in range(31):
            diverge_trial(db, take(db, study, "w"), f"NaN in epoch {number}")
        found = status(db, study)
        assert [line.split(": ")[0] for line in found.problems] == [
            f"trial {number} diverged" for number in range(30, 10, -1)
        ]
        last = lines(db, study)[-1].strip()
        assert last.startswith("and 11 more: rdsweep query digits-beta --where \"state in ('div")

    def test_workers_that_left_for_a_reason_are_gathered_by_it(
        self, db: Database, study: str
    ) -> None:
        for name, reason in (("a", "no room"), ("b", "no room"), ("c", "CUDA error"), ("d", None)):
            register(db, study, name)
            end_worker(db, name, reason)
        silence(db, "c", 200)
        told = [re.sub(r"ended \d+ s", "ended now", line) for line in status(db, study).problems]
        assert told == [
            "2 workers, the last of them elsewhere:4321 on cuda:0, ended now ago: no room",
            "worker elsewhere:4321 on cuda:0 ended 3 min 20 s ago: CUDA error",
        ]


def test_json_has_all_of_it(db: Database, study: str) -> None:
    register(db, study, "w")
    store_epoch(db, take(db, study, "w"), epoch_record(1))
    (found,) = json.loads(render_status([status(db, study)], as_json=True))
    assert found["states"]["running"] == 1
    (worker,) = found["workers"]
    assert (worker["liveness"], worker["trial"]["number"]) == ("alive", 0)
    assert worker["trial"]["lease_seconds"] == pytest.approx(40, abs=5)
    assert found["throughput"]["epochs_per_second"] > 0


def test_several_studies_are_told_in_a_few_lines_each(db: Database, study: str) -> None:
    other = study_of(db, 1, name="other", spec=SPEC)
    diverge_trial(db, take(db, other, "w"), "NaN")
    said = render_status(status_of(db, None), as_json=False)
    assert said.count("  trials ") == 2
    assert "  problems    1: rdsweep status other" in said
    assert "NaN" not in said


def test_a_database_without_studies_says_so(db: Database) -> None:
    assert render_status(status_of(db, None), as_json=False) == "no studies yet"


def statements_of(db: Database, action: Callable[[], object]) -> int:
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(db.engine, "before_cursor_execute", counted)
    action()
    event.remove(db.engine, "before_cursor_execute", counted)
    return count


def fill(db: Database, study: str, first: int, last: int) -> None:
    """Workers with trials in hand, and trials of every other kind."""
    add_trials(db, study, [new_trial(number) for number in range(5 * first, 5 * last)])
    for number in range(first, last):
        register(db, study, f"w{number}")
        release_trial(db, take(db, study, f"w{number}"), "asked to stop")
        finish_trial(db, take(db, study, f"w{number}"), EVALUATION, LATENTS, [])
        diverge_trial(db, take(db, study, f"w{number}"), "NaN")
        store_epoch(db, take(db, study, f"w{number}"), epoch_record(1))


def test_twice_the_trials_and_workers_take_the_same_number_of_statements(db: Database) -> None:
    study = study_of(db, 0, spec=SPEC, trials_wanted=100)
    fill(db, study, 0, 2)
    few = statements_of(db, lambda: status_of(db, study))
    fill(db, study, 2, 9)
    assert statements_of(db, lambda: status_of(db, study)) == few


def test_postgresql_tells_the_same(tmp_path: Path) -> None:
    if reason := postgres_server.missing():
        pytest.skip(reason)
    with postgres_server.prepared_database() as url:
        db = open_database(url)
        study = study_of(db, 0, spec=SPEC, trials_wanted=100)
        fill(db, study, 0, 2)
        found = status(db, study)
        db.close()
    assert found.states == {"queued": 4, "running": 2, "complete": 2, "diverged": 2, "failed": 0}
    assert [worker.liveness for worker in found.workers] == ["alive", "alive"]
    assert {worker.trial.epoch for worker in found.workers if worker.trial} == {1}
    assert found.repeated_count == 2


def test_watching_draws_again_and_again_until_ctrl_c(rdsweep: Rdsweep) -> None:
    db = open_database(rdsweep.url)
    prepare_schema(db)
    study_of(db, 1, spec=SPEC)
    process = rdsweep.start("status", "--watch", "0.2")
    assert process.stdout is not None
    drawn = [process.stdout.readline() for _ in range(12)]
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert drawn.count("digits-beta  (digits, D in SE)\n") >= 2
    assert "Traceback" not in said
