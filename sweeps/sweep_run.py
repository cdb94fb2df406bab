"""A sweep from beginning to end: prepare, start workers, watch, tidy; or start them and leave."""

import math
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from rich.console import Console

from studies.database import Database
from studies.launchers import end_launcher
from studies.orders import clear_stop, order_worker_stop
from studies.queue import counts, mark_exhausted, outlook
from studies.records import FINISHED_STATES, StudyRecord, TrialState
from sweeps.artifact_store import StoreError, local_directory, open_store
from sweeps.dead_workers import recover_dead_workers
from sweeps.errors import SweepError, SweepWarning
from sweeps.finished_files import tidy_finished
from sweeps.launcher import Launcher
from sweeps.launchers import build_launcher
from sweeps.progress import SweepDisplay
from sweeps.spec import Spec
from sweeps.supervisor import PATIENCE_SECONDS, Supervisor, announce_launcher, interrupts
from sweeps.wording import counted
from sweeps.worker_plan import worker_plan

__all__ = ["Outcome", "run_sweep", "start_detached", "warn_before_training"]


@final
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


def run_sweep(spec: Spec, db: Database, console: Console) -> Outcome:
    """Runs a spec's study up to its wanted number of trials.

    Ctrl-C once lets each running trial end its epoch and leaves it to be continued; twice ends
    the workers at once, and their trials go on later from the last checkpoint. `rdsweep stop`
    from elsewhere ends it as well.

    Raises:
        SweepError: the launcher cannot start workers, the study does not fit, or every worker died.
        StudiesError: the database cannot be made or reached.
        DataError: the data set is missing or unreadable.
    """
    plan = worker_plan(spec, db)
    with closing(build_launcher(spec.run.launcher, plan)) as launcher:
        study, workers = _prepare(spec, db, console, launcher, plan.launcher_id)
        watched = replace(db, patience_seconds=PATIENCE_SECONDS)
        with interrupts() as heard, SweepDisplay(console, watched, study) as display:
            supervisor = Supervisor(
                db=watched,
                study=study.name,
                launcher=launcher,
                launcher_id=plan.launcher_id,
                workers=workers,
                display=display,
                interrupts=heard,
            )
            supervisor.run()
    if not supervisor.interrupted:
        _check_end(db, study.name, supervisor.last_end, plan.logs)
    _tidy(db, study)
    return _outcome(db, study, interrupted=supervisor.interrupted)


def start_detached(spec: Spec, db: Database, console: Console) -> None:
    """Starts the workers of a spec's study and leaves them alone.

    Raises:
        SweepError: the launcher cannot start workers, or the study does not fit.
        StudiesError: the database cannot be made or reached.
        DataError: the data set is missing or unreadable.
    """
    plan = worker_plan(spec, db, detached=True)
    with closing(build_launcher(spec.run.launcher, plan)) as launcher:
        _, workers = _prepare(spec, db, console, launcher, plan.launcher_id)
        try:
            surplus = launcher.scale(workers)
        finally:
            end_launcher(db, plan.launcher_id)
    order_worker_stop(db, surplus, "drain")


def _prepare(
    spec: Spec, db: Database, console: Console, launcher: Launcher, launcher_id: str
) -> tuple[StudyRecord, int]:
    """Everything before the first worker is started; returns the study and how many they are.

    What may fail comes before what is created.
    """
    launcher.check()
    from sweeps.study_setup import prepare_study

    with console.status("preparing data and study …"):
        study = prepare_study(spec, db)
    warn_before_training(spec, study)
    if launcher.spans_machines:
        for note in _notes_on_reach(db, study):
            warnings.warn(note, SweepWarning, stacklevel=2)
    recover_dead_workers(db, study.name)
    clear_stop(db, study.name)
    mark_exhausted(db, study.name, exhausted=False)
    workers = _useful_workers(db, study, spec.run.workers or launcher.usual_workers)
    announce_launcher(db, study.name, launcher_id, launcher, workers)
    text = _introduction(spec, study, f"{counted(workers, 'worker')} on {launcher.where}")
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    return study, workers


def _useful_workers(db: Database, study: StudyRecord, workers: int) -> int:
    """Returns how many of so many workers have a trial to train; one to tell the last outcomes."""
    look = outlook(db, study.name)
    return max(1, min(workers, look.wanted - look.finished))


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


def _notes_on_reach(db: Database, study: StudyRecord) -> Iterator[str]:
    """What workers on other machines could not reach."""
    directory = local_directory(study.artifacts_url)
    if directory is not None:
        yield (
            f"every machine must see the artifacts' directory {directory} under this name "
            '(a shared file system); else write study.artifacts = "s3://BUCKET/PREFIX".'
        )
    host = db.engine.url.host or db.engine.url.query.get("host", "")
    if not host or str(host).startswith(("/", "localhost", "127.", "::1")):
        yield f"the database {db.where} is reached from this machine only, by its address."


def _introduction(spec: Spec, study: StudyRecord, crew: str) -> str:
    """What is about to run, in two lines."""
    from sweeps.samplers import choose_sampler
    from sweeps.space import Space

    data = study.data
    space = Space(spec, math.prod(data["image_shape"]), data["train_size"])
    sampler = choose_sampler(spec.study.sampler, space, study.trials_wanted)
    return (
        f"study {study.name}: {study.trials_wanted} trials on {data['name']} "
        f"({data['train_size']} training, {data['heldout_size']} held-out examples), {crew}\n"
        f"sampler {sampler.name}: {sampler.reason}"
    )


def _outcome(db: Database, study: StudyRecord, *, interrupted: bool) -> Outcome:
    states = counts(db, study.name)
    short = sum(states[state] for state in FINISHED_STATES) < study.trials_wanted
    return Outcome(
        study=study,
        interrupted=short and interrupted,
        exhausted=short and not interrupted,
        states=states,
    )


def _check_end(db: Database, study: str, last_end: str, logs: Path) -> None:
    """Raises a SweepError if the workers ended although there was work."""
    if outlook(db, study).over:
        return
    message = (
        f"Every worker ended before the sweep was finished: {last_end} (logs: {logs}). "
        "Finished trials are stored; the same command goes on with the others."
    )
    raise SweepError(message)


def _tidy(db: Database, study: StudyRecord) -> None:
    """Removes files that killed workers left of finished trials; `rdsweep doctor` can as well."""
    with suppress(StoreError):
        tidy_finished(open_store(study.artifacts_url), db, study.name)
