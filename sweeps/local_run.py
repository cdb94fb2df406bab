"""A sweep on this machine from beginning to end: prepare, start workers, watch, report."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from studies.database import Database
from studies.leases import release_worker
from studies.queue import counts
from studies.records import StudyRecord, TrialState, WorkerRecord
from studies.workers import end_worker, list_workers
from sweeps.devices import placements
from sweeps.errors import SweepError
from sweeps.local_launcher import Death, LocalLauncher
from sweeps.progress import SweepDisplay, snapshot_of
from sweeps.spec import Spec

POLL_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        study: the study's record.
        interrupted: a stop was asked for before the last trial was finished.
        exhausted: the space held fewer settings than the trials wanted.
        states: number of trials by state.
    """

    study: StudyRecord
    interrupted: bool
    exhausted: bool
    states: dict[TrialState, int]


class _Interrupts:
    """Counts Ctrl-C and SIGTERM while a sweep runs."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    counter = _Interrupts()
    before = [(s, signal.signal(s, counter)) for s in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield counter
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def run_locally(spec: Spec, url: str, console: Console) -> Outcome:
    """Runs a spec's study up to its wanted number of trials.

    Ctrl-C once lets each running trial end its epoch and leaves it to be continued; twice ends
    the workers at once, and their trials go on later from the last checkpoint.

    Raises:
        SweepError: the device is missing, the study does not fit, or every worker died.
        StudiesError: the database cannot be made or reached.
        DataError: the data set is missing or unreadable.
    """
    seats = placements(spec.run.device, spec.run.workers, spec.run.threads)
    from sweeps.study_setup import prepare_study

    with console.status("preparing data and study …"):
        db, study = prepare_study(spec, url)
    recover_dead_workers(db, study.name)
    logs = Path(study.artifacts_dir) / study.name / "logs"
    launcher = LocalLauncher(study=study.name, url=url, placements=seats, logs=logs)
    with _interrupts() as interrupts, SweepDisplay(console, study) as display:
        launcher.start()
        _watch(db, study, launcher, display, interrupts)
    return _outcome(db, study, interrupted=interrupts.count > 0)


def recover_dead_workers(db: Database, study: str) -> list[int]:
    """Gives back the trials of workers on this host whose process is gone; returns their numbers.

    A lease would run out by itself; this spares the wait.
    """
    numbers: list[int] = []
    for worker in list_workers(db, study, host=socket.gethostname(), ended=False):
        if _is_dead(worker):
            numbers += release_worker(db, worker.id, "its process is gone")
            end_worker(db, worker.id)
    return numbers


def _is_dead(worker: WorkerRecord) -> bool:
    try:
        started = psutil.Process(worker.pid).create_time()
    except psutil.Error:
        return True
    return abs(started - worker.process_started_at) > 1.0  # another process has that number now


def _watch(
    db: Database,
    study: StudyRecord,
    launcher: LocalLauncher,
    display: SweepDisplay,
    interrupts: _Interrupts,
) -> None:
    handled = 0
    while True:
        alive = launcher.running
        deaths = launcher.deaths()
        for death in deaths:
            _recover(db, death, display)
        display.show(snapshot_of(db, study))
        if interrupts.count > handled:
            handled = interrupts.count
            _stop(db, launcher, display, at_once=handled > 1)
        if not alive and not launcher.running:
            _check_end(db, study, deaths, interrupted=handled > 0)
            return
        time.sleep(POLL_SECONDS)


def _recover(db: Database, death: Death, display: SweepDisplay) -> None:
    numbers = release_worker(db, death.worker_id, death.reason)
    end_worker(db, death.worker_id)
    left = f"; trial {numbers[0]} goes on elsewhere" if numbers else ""
    then = "" if death.restarted else "; not started again"
    display.note(f"a worker ended: {death.reason}{left}{then}")


def _stop(db: Database, launcher: LocalLauncher, display: SweepDisplay, *, at_once: bool) -> None:
    if not at_once:
        display.note("stopping when the running epochs end (Ctrl-C again: at once)")
        launcher.stop()
        return
    for worker_id in launcher.kill():
        release_worker(db, worker_id, "stopped at once")
        end_worker(db, worker_id)


def _check_end(
    db: Database, study: StudyRecord, deaths: list[Death], *, interrupted: bool
) -> None:
    states = counts(db, study.name)
    if interrupted or not (states["queued"] or states["running"]):
        return
    reason = deaths[-1].reason if deaths else "see the logs"
    message = (
        f"Every worker ended before the sweep was finished: {reason} (logs: "
        f"{Path(study.artifacts_dir) / study.name / 'logs'}). Finished trials are stored; "
        "the same command goes on with the others."
    )
    raise SweepError(message)


def _outcome(db: Database, study: StudyRecord, *, interrupted: bool) -> Outcome:
    states = counts(db, study.name)
    finished = states["complete"] + states["diverged"] + states["failed"]
    short = finished < study.trials_wanted
    return Outcome(
        study=study,
        interrupted=interrupted and short,
        exhausted=short and not interrupted,
        states=states,
    )
