"""A sweep on this machine from beginning to end: prepare, start workers, watch, report."""

import math
import signal
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil
from rich.console import Console

from studies.database import Database
from studies.errors import StorageError
from studies.leases import release_worker
from studies.queue import counts
from studies.records import FINISHED_STATES, StudyRecord, TrialState, WorkerRecord
from studies.workers import list_workers
from sweeps.devices import Placement, placements
from sweeps.errors import SweepError, SweepWarning
from sweeps.local_launcher import Death, LocalLauncher
from sweeps.progress import SweepDisplay
from sweeps.spec import Spec

POLL_SECONDS = 0.3
START_TOLERANCE_SECONDS = 30.0  # the start time of a process moves when the clock is set


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


def run_locally(spec: Spec, db: Database, console: Console) -> Outcome:
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
        study = prepare_study(spec, db)
    warn_before_training(spec, study)
    recover_dead_workers(db, study.name)
    text = _introduction(spec, study, seats)
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    logs = Path(study.artifacts_url) / study.name / "logs"
    launcher = LocalLauncher(study=study.name, url=db.url, placements=seats, logs=logs)
    with _interrupts() as interrupts, SweepDisplay(console, db, study) as display:
        watch = _Watch(db, study, launcher, display, interrupts)
        launcher.start()
        try:
            watch.until_the_end()
        except BaseException:
            launcher.stop()
            raise
    return watch.outcome()


def warn_before_training(spec: Spec, study: StudyRecord) -> None:
    """Warns of what is known to come to nothing or to come twice, a `SweepWarning` for each."""
    from sweeps.annealing_end import unfinished_annealings
    from sweeps.curve_guide import range_notes
    from sweeps.redundancy import redundancies
    from sweeps.space import Space

    pixels = math.prod(study.data["image_shape"])
    examples, rate = study.data["train_size"], study.rate_reference_nats
    notes = range_notes(spec, study.spectrum, pixels=pixels, rate_nats=rate, examples=examples)
    twice = redundancies(spec, Space(spec, pixels, examples))
    for note in (*twice, *unfinished_annealings(spec, examples), *notes):
        warnings.warn(note, SweepWarning, stacklevel=2)


def _introduction(spec: Spec, study: StudyRecord, seats: Sequence[Placement]) -> str:
    """What is about to run, in two lines."""
    from sweeps.samplers import choose_sampler
    from sweeps.space import Space

    data = study.data
    space = Space(spec, math.prod(data["image_shape"]), data["train_size"])
    sampler = choose_sampler(spec.study.sampler, space, study.trials_wanted)
    devices = ", ".join(sorted({seat.device for seat in seats}))
    return (
        f"study {study.name}: {study.trials_wanted} trials on {data['name']} "
        f"({data['train_size']} training, {data['heldout_size']} held-out examples), "
        f"{len(seats)} workers on {devices}\n"
        f"sampler {sampler.name}: {sampler.reason}"
    )


def recover_dead_workers(db: Database, study: str) -> list[int]:
    """Gives back the trials of workers on this host whose process is gone; returns their numbers.

    A lease would run out by itself; this spares the wait.
    """
    numbers: list[int] = []
    for worker in list_workers(db, study, host=socket.gethostname(), ended=False):
        if _is_dead(worker):
            numbers += release_worker(db, worker.id, "its process is gone")
    return numbers


def _is_dead(worker: WorkerRecord) -> bool:
    """Whether a worker of this host is gone: no such process, a zombie, or a later process."""
    try:
        process = psutil.Process(worker.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        started = process.create_time()
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return abs(started - worker.process_started_at) > START_TOLERANCE_SECONDS


class _Watch:
    """Looks after the workers of a run until all have left."""

    def __init__(
        self,
        db: Database,
        study: StudyRecord,
        launcher: LocalLauncher,
        display: SweepDisplay,
        interrupts: _Interrupts,
    ) -> None:
        self._db = db
        self._study = study
        self._launcher = launcher
        self._display = display
        self._interrupts = interrupts
        self._heard = 0
        self._finished = 0
        self._last_death = "see the logs"

    def until_the_end(self) -> None:
        """Returns when no worker is left.

        Raises:
            SweepError: they all ended before the sweep was finished.
        """
        while self._look():
            time.sleep(POLL_SECONDS)
        if not self._heard:
            self._check_end()

    def _look(self) -> bool:
        """Recovers from deaths, draws, hears interrupts; False once no worker was or is alive."""
        alive = self._launcher.running
        try:
            for death in self._launcher.deaths():
                self._recover(death)
            finished = self._display.refresh()
            if finished > self._finished:
                self._launcher.forgive()
            self._finished = finished
        except StorageError as error:
            self._display.note(f"the database does not answer: {error}")
        if self._interrupts.count > self._heard:
            self._heard = self._interrupts.count
            self._stop(at_once=self._heard > 1)
        return alive > 0 or self._launcher.running > 0

    def _recover(self, death: Death) -> None:
        numbers = release_worker(self._db, death.worker_id, death.reason, counts=not self._heard)
        if self._heard:
            return
        self._last_death = death.reason
        left = f"; trial {numbers[0]} goes on elsewhere" if numbers else ""
        then = "" if death.restarted else "; not started again"
        self._display.note(f"a worker ended: {death.reason}{left}{then}")

    def _stop(self, *, at_once: bool) -> None:
        if at_once:
            self._launcher.kill()
            return
        self._display.note("stopping when the running epochs end (Ctrl-C again: at once)")
        self._launcher.stop()

    def _check_end(self) -> None:
        states = counts(self._db, self._study.name)
        unfinished = states["queued"] or states["running"]
        if not unfinished and (self._launcher.ended_well or not self._is_short(states)):
            return
        message = (
            f"Every worker ended before the sweep was finished: {self._last_death} (logs: "
            f"{Path(self._study.artifacts_url) / self._study.name / 'logs'}). Finished trials "
            "are stored; the same command goes on with the others."
        )
        raise SweepError(message)

    def _is_short(self, states: dict[TrialState, int]) -> bool:
        return sum(states[state] for state in FINISHED_STATES) < self._study.trials_wanted

    def outcome(self) -> Outcome:
        """How it ended."""
        states = counts(self._db, self._study.name)
        short = self._is_short(states)
        return Outcome(
            study=self._study,
            interrupted=short and self._heard > 0,
            exhausted=short and not self._heard,
            states=states,
        )
