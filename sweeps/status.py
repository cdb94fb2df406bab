"""What `rdsweep status` knows: the studies of a database now, their workers, and what went wrong.

However many trials and workers there are, a study takes the same number of statements.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from studies.attempts import AttemptRecord, attempts_of, count_attempts, repeated_trials
from studies.database import Database
from studies.fronts import study_front
from studies.launchers import list_launchers
from studies.orders import standing_order
from studies.queries import query_trials
from studies.queue import counts, outlook
from studies.records import FINISHED_STATES, LauncherRecord, StopOrder, TrialState, WorkerRecord
from studies.reuse import count_reused
from studies.running_trials import RunningTrial, running_trials
from studies.sampler_lease import sampler_holder
from studies.study_records import get_study, list_studies
from studies.throughput import Throughput, throughput
from studies.workers import list_workers
from sweeps.durations import in_words
from sweeps.liveness import Liveness, lease_seconds_of, liveness_of
from sweeps.living import LAUNCHER_SILENCE_SECONDS
from sweeps.progress import trial_line

__all__ = [
    "LauncherStatus",
    "RepeatedTrial",
    "SamplerDesk",
    "StudyStatus",
    "WorkerStatus",
    "status_of",
]

_MOST_LINES = 20
_WRONG = "state in ('diverged', 'failed')"


@dataclass(frozen=True, kw_only=True)
class SamplerDesk:
    """Who asks the sampler.

    Attributes:
        holder: identity of the desk, the worker's and "/desk".
        where: host and pid of that worker; None where it is not known.
        seconds_left: how long its lease lasts; negative once that is over.
    """

    holder: str
    where: str | None
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class LauncherStatus:
    """A process that starts workers, and has not ended."""

    kind: str
    host: str
    pid: int
    workers_wanted: int
    liveness: Liveness
    silent_seconds: float


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A worker that has not ended.

    Attributes:
        id: under which it holds leases.
        host: name of its machine.
        pid: its process there.
        device: that it trains on.
        liveness: "alive", "late" or "dead".
        silent_seconds: for how long nothing was heard of it.
        trial: what it has in hand; of several trials, the first.
        trials: all that it has in hand.
        stop: the order that it alone has got.
        note: what hinders it.
    """

    id: str
    host: str
    pid: int
    device: str
    liveness: Liveness
    silent_seconds: float
    trial: RunningTrial | None
    trials: Sequence[RunningTrial]
    stop: StopOrder | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class RepeatedTrial:
    """A trial that took more than one attempt."""

    number: int
    attempts: Sequence[AttemptRecord]


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
        untold: finished trials whose outcome the sampler has not been told.
        exhausted: whether the space holds no setting that was not tried.
        stop: the order to all its workers.
        front_size: number of non-dominated trials.
        hypervolume: against the study's fixed reference point.
        throughput: in its last hour of work; None before any.
        sampler: who asks the sampler; None where nobody does.
        launchers: those that have not ended.
        workers: those that have not ended.
        running: trials in training.
        attempts: how many ended in each way; "running" for those that have not.
        repeated: trials that took more than one attempt, at most twenty.
        repeated_count: how many there are of them.
        problems: workers that left for a reason, diverged and failed trials, a line each.
        problems_left_out: how many diverged and failed trials have no line.
    """

    name: str
    data: str
    distortion: str
    trials_wanted: int
    states: dict[TrialState, int]
    reused: int
    untold: int
    exhausted: bool
    stop: StopOrder | None
    front_size: int
    hypervolume: float
    throughput: Throughput | None
    sampler: SamplerDesk | None
    launchers: Sequence[LauncherStatus]
    workers: Sequence[WorkerStatus]
    running: Sequence[RunningTrial]
    attempts: dict[str, int]
    repeated: Sequence[RepeatedTrial]
    repeated_count: int
    problems: Sequence[str]
    problems_left_out: int

    @property
    def finished(self) -> int:
        """Number of trials that are complete, diverged or failed."""
        return sum(self.states[state] for state in FINISHED_STATES)


def status_of(db: Database, study: str | None) -> list[StudyStatus]:
    """The status of one study, or of every study in the database.

    Raises:
        StudyNotFound: no study has that name.
    """
    names = [study] if study is not None else [record.name for record in list_studies(db)]
    return [_study_status(db, name) for name in names]


def _study_status(db: Database, name: str) -> StudyStatus:
    record, look, front = get_study(db, name), outlook(db, name), study_front(db, name)
    states, running = counts(db, name), running_trials(db, name)
    workers = list_workers(db, name)
    lease_seconds = lease_seconds_of(record)
    repeated, repeated_count = _repeated(db, name)
    troubles = _troubles(db, name, record.distortion)
    return StudyStatus(
        name=name,
        data=record.data["name"],
        distortion=record.distortion,
        trials_wanted=record.trials_wanted,
        states=states,
        reused=count_reused(db, name),
        untold=look.untold,
        exhausted=look.exhausted,
        stop=standing_order(db, name),
        front_size=len(front.trials),
        hypervolume=front.hypervolume,
        throughput=throughput(db, name),
        sampler=_sampler(db, name, workers),
        launchers=[_launcher(launcher) for launcher in list_launchers(db, name, ended=False)],
        workers=list(_workers(workers, running, lease_seconds)),
        running=running,
        attempts={outcome or "running": n for outcome, n in count_attempts(db, name).items()},
        repeated=repeated,
        repeated_count=repeated_count,
        problems=[*_departures(workers), *troubles],
        problems_left_out=states["diverged"] + states["failed"] - len(troubles),
    )


def _repeated(db: Database, study: str) -> tuple[list[RepeatedTrial], int]:
    numbers, count = repeated_trials(db, study, _MOST_LINES)
    attempts = attempts_of(db, study, numbers)
    return [RepeatedTrial(number=n, attempts=attempts.get(n, ())) for n in numbers], count


def _troubles(db: Database, study: str, distortion: str) -> list[str]:
    """The last trials that diverged or failed, the latest first."""
    wrong = query_trials(db, study, where=_WRONG, order_by="-finished_at", limit=_MOST_LINES)
    return [trial_line(trial, distortion, 0, 0).partition("] ")[2] for trial in wrong]


def _sampler(db: Database, study: str, workers: Sequence[WorkerRecord]) -> SamplerDesk | None:
    held = sampler_holder(db, study)
    if held is None:
        return None
    holder, seconds = held
    places = {worker.id: f"{worker.host}:{worker.pid}" for worker in workers}
    return SamplerDesk(
        holder=holder, where=places.get(holder.removesuffix("/desk")), seconds_left=seconds
    )


def _launcher(launcher: LauncherRecord) -> LauncherStatus:
    return LauncherStatus(
        kind=launcher.kind,
        host=launcher.host,
        pid=launcher.pid,
        workers_wanted=launcher.workers_wanted,
        liveness=liveness_of(launcher, LAUNCHER_SILENCE_SECONDS),
        silent_seconds=launcher.silent_seconds,
    )


def _workers(
    workers: Sequence[WorkerRecord], running: Sequence[RunningTrial], lease_seconds: float
) -> Iterator[WorkerStatus]:
    in_hand: defaultdict[str | None, list[RunningTrial]] = defaultdict(list)
    for trial in running:
        in_hand[trial.worker].append(trial)
    for worker in workers:
        if worker.ended_at is None:
            yield WorkerStatus(
                id=worker.id,
                host=worker.host,
                pid=worker.pid,
                device=worker.device,
                liveness=liveness_of(worker, lease_seconds),
                silent_seconds=worker.silent_seconds,
                trial=next(iter(in_hand[worker.id]), None),
                trials=in_hand[worker.id],
                stop=worker.stop,
                note=worker.note,
            )


def _departures(workers: Sequence[WorkerRecord]) -> list[str]:
    """The workers that left for a reason, a line for each reason, the latest first."""
    by_reason: defaultdict[str, list[WorkerRecord]] = defaultdict(list)
    for worker in workers:
        if worker.ended_at is not None and worker.reason:
            by_reason[worker.reason].append(worker)
    groups = sorted(
        by_reason.values(), key=lambda group: min(worker.silent_seconds for worker in group)
    )
    return [_departure(group) for group in groups[:_MOST_LINES]]


def _departure(workers: Sequence[WorkerRecord]) -> str:
    last = min(workers, key=lambda worker: worker.silent_seconds)
    who = f"worker {last.host}:{last.pid} on {last.device}"
    if len(workers) > 1:
        who = f"{len(workers)} workers, the last of them {last.host}:{last.pid} on {last.device},"
    return f"{who} ended {in_words(last.silent_seconds)} ago: {last.reason}"
