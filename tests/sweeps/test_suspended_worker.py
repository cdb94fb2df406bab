"""A worker that is suspended past its lease, as in a laptop, wakes up and writes nothing.

Its trial belongs to another by then. It goes on with whatever else there is to do.
"""

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import doomed_worker
from agreement import Rows, all_files, all_rows, check_finished, check_rows
from patience import until
from rdsweep_command import Rdsweep
from studies.attempts import attempts_of
from studies.database import Database, open_database
from studies.queries import query_trials
from studies.queue import outlook
from studies.sampler_lease import sampler_holder
from studies.study_records import get_study, update_study
from studies.workers import list_workers
from sweeps.spec import load_spec
from sweeps.study_setup import prepare_study

SPEC = """
[study]
name = "small"
trials = 1
sampler = "random"
[data]
name = "digits"
[model]
hidden = [8]
[train]
epochs = 4
batch_size = 512
[evaluation]
iwae_samples = 2
diagnostic_examples = 50
[run]
lease_seconds = 2
checkpoint_seconds = 0
[space]
beta = {{ low = 0.01, high = 10, log = true }}
"""
WORKERS, STUDIES = "rdsweep_workers", "rdsweep_studies"


@pytest.fixture
def db(rdsweep: Rdsweep) -> Database:
    """A database with a study of one trial, which nobody has begun."""
    database = open_database(rdsweep.url)
    prepare_study(load_spec(rdsweep.write_spec(text=SPEC), []), database)
    return database


def _suspended(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()[0]
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def _overtaken(rdsweep: Rdsweep, db: Database, point: str) -> subprocess.Popen[str]:
    """A worker that suspended itself there; another has finished its trial and has left."""
    process = doomed_worker.start(rdsweep.url, "small", "suspended", point, signal.SIGSTOP)
    rdsweep.started.append(process)
    until(lambda: _suspended(process))
    rdsweep("worker", "small", "--device", "cpu", "--worker-id", "other")
    until(lambda: sampler_holder(db, "small") is None)  # the desk of the first has left as well
    return process


def _wake(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=180)
    assert process.returncode == 0, said
    assert "lost attempt 1 at trial 0" in said


def _lost(before: Rows, after: Rows) -> Rows:
    return {name: gone for name, rows in before.items() if (gone := rows - after[name])}


@pytest.mark.parametrize("point", doomed_worker.POINTS)
def test_wherever_it_was_suspended_it_changes_no_row_and_no_file(
    rdsweep: Rdsweep, db: Database, point: str
) -> None:
    process = _overtaken(rdsweep, db, point)
    rows, files = all_rows(db, WORKERS), all_files(rdsweep.folder / "rdsweep.db-files")
    _wake(process)
    assert all_rows(db, WORKERS) == rows
    assert all_files(rdsweep.folder / "rdsweep.db-files") == files
    check_finished(db, "small", 1)
    check_rows(db, "small")
    first, second = attempts_of(db, "small", [0])[0]
    assert (first.worker, first.outcome) == ("suspended", "lost")
    assert (second.worker, second.outcome) == ("other", "complete")
    (name,) = files
    assert name.endswith("/model-002.safetensors")
    others = {worker.id: worker for worker in list_workers(db, "small")}
    assert others["suspended"].ended_at is not None


def test_it_goes_on_with_other_work(rdsweep: Rdsweep, db: Database) -> None:
    process = _overtaken(rdsweep, db, "before an epoch is stored")
    update_study(db, replace(get_study(db, "small"), trials_wanted=2))
    rows, files = all_rows(db, WORKERS, STUDIES), all_files(rdsweep.folder / "rdsweep.db-files")
    _wake(process)
    assert outlook(db, "small").over
    assert [trial.worker for trial in query_trials(db, "small")] == ["other", "suspended"]
    check_finished(db, "small", 2)
    check_rows(db, "small")
    assert _lost(rows, all_rows(db, WORKERS, STUDIES)) == {}
    now = all_files(rdsweep.folder / "rdsweep.db-files")
    assert files.items() <= now.items()
    (new,) = now.keys() - files.keys()
    assert Path(new).parent.name.startswith("00001-")
