"""What `rdsweep status` says: the studies of a database, or one of them in detail."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from studies.database import Database
from studies.fronts import study_front
from studies.queries import last_epochs_of, query_trials
from studies.queue import counts
from studies.records import FINISHED_STATES, StudyRecord, TrialState
from studies.study_records import get_study, list_studies
from studies.workers import list_workers
from sweeps.progress import trial_line


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial in training: its last epoch's training averages, at β = 1 and per example."""

    number: int
    attempt: int
    epoch: int
    epochs: int
    rate_nats: float | None
    distortion: float | None


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """One study now.

    Attributes:
        name: of the study.
        data: name of its data set.
        distortion: "se" or "nll".
        trials_wanted: up to how many trials it runs.
        states: number of trials by state.
        reused: how many of them took over the results of an equivalent trial.
        front_size: number of non-dominated trials.
        hypervolume: against the study's fixed reference point.
        running: trials in training.
        workers: those that have not ended, as host:pid on device.
        problems: diverged and failed trials, a line each.
    """

    name: str
    data: str
    distortion: str
    trials_wanted: int
    states: dict[TrialState, int]
    reused: int
    front_size: int
    hypervolume: float
    running: Sequence[RunningTrial]
    workers: Sequence[str]
    problems: Sequence[str]


def status_of(db: Database, study: str | None) -> list[StudyStatus]:
    """The status of one study, or of every study in the database.

    Raises:
        StudyNotFound: no study has that name.
    """
    names = [study] if study is not None else [record.name for record in list_studies(db)]
    return [_study_status(db, name) for name in names]


def _study_status(db: Database, name: str) -> StudyStatus:
    record = get_study(db, name)
    front = study_front(db, name)
    unfinished = query_trials(db, name, where="state = 'running'")
    last = last_epochs_of(db, name, [trial.number for trial in unfinished]) if unfinished else {}
    running = []
    for trial in unfinished:
        epoch = last.get(trial.number)
        nll = record.distortion == "nll"
        running.append(
            RunningTrial(
                number=trial.number,
                attempt=trial.attempt,
                epoch=epoch.epoch if epoch else 0,
                epochs=trial.epochs,
                rate_nats=epoch.rate_nats if epoch else None,
                distortion=(epoch.distortion_nll_nats if nll else epoch.distortion_se)
                if epoch
                else None,
            )
        )
    wrong = query_trials(db, name, where="state in ('diverged', 'failed')")
    states = counts(db, name)
    finished = sum(states[state] for state in FINISHED_STATES)
    return StudyStatus(
        name=name,
        data=record.data["name"],
        distortion=record.distortion,
        trials_wanted=record.trials_wanted,
        states=states,
        reused=_reused(db, record),
        front_size=len(front.trials),
        hypervolume=front.hypervolume,
        running=running,
        workers=[
            f"{worker.host}:{worker.pid} on {worker.device}"
            for worker in list_workers(db, name, ended=False)
        ],
        problems=[
            trial_line(trial, record.distortion, finished, record.trials_wanted).partition("] ")[2]
            for trial in wrong
        ],
    )


def _reused(db: Database, study: StudyRecord) -> int:
    if not study.spec["study"].get("dedupe", False):
        return 0
    return len(query_trials(db, study.name, where="reused_from is not null"))


def render_status(found: Sequence[StudyStatus], *, as_json: bool) -> str:
    """The status as text for people, or as a JSON list (one object a study)."""
    if as_json:
        return json.dumps([asdict(status) for status in found], ensure_ascii=False, indent=2)
    if not found:
        return "no studies yet"
    return "\n\n".join(_paragraph(status) for status in found)


def _paragraph(status: StudyStatus) -> str:
    unit = "nats" if status.distortion == "nll" else "SE"
    found = [f"{count} {state}" for state, count in status.states.items() if count]
    found += [f"{status.reused} of them reused"] if status.reused else []
    states = ", ".join(found)
    finished = sum(status.states[state] for state in FINISHED_STATES)
    lines = [
        f"{status.name}  ({status.data}, D in {unit})",
        f"  trials   {finished} of {status.trials_wanted} finished ({states or 'none yet'})",
        f"  front    {status.front_size} trials, hypervolume {status.hypervolume:.6g}",
    ]
    lines += [f"  running  {_running_line(trial, unit)}" for trial in status.running]
    lines += [f"  worker   {worker}" for worker in status.workers]
    lines += [f"  problem  {problem}" for problem in status.problems]
    return "\n".join(lines)


def _running_line(trial: RunningTrial, unit: str) -> str:
    line = f"trial {trial.number}, epoch {trial.epoch}/{trial.epochs}"
    if trial.rate_nats is not None:
        line += f", R = {trial.rate_nats:.2f} nats, D = {trial.distortion:.2f} {unit}"
    return line + (f", attempt {trial.attempt}" if trial.attempt > 1 else "")
