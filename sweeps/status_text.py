"""The status of studies as text for people, and as JSON for programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from studies.running_trials import RunningTrial
from sweeps.durations import in_words
from sweeps.status import LauncherStatus, RepeatedTrial, StudyStatus, WorkerStatus

__all__ = ["render_status"]

_MOST_WORKERS = 40
_MOST_OF_A_PACK = 8
_ORDERS = {
    "drain": "drain: every worker finishes its trial and leaves",
    "now": "now: every worker leaves at its next epoch",
}


def render_status(found: Sequence[StudyStatus], *, as_json: bool) -> str:
    """The status as text, or as a JSON list (one object a study).

    A single study is told in full, each of several in a few lines.
    """
    if as_json:
        objects = [_object(status) for status in found]
        return json.dumps(objects, ensure_ascii=False, indent=2)
    if not found:
        return "no studies yet"
    full = len(found) == 1
    return "\n\n".join("\n".join(_lines(status, full=full)) for status in found)


def _object(status: StudyStatus) -> dict[str, Any]:
    whole = asdict(status)
    if status.throughput is not None:
        whole["throughput"] |= {
            "trials_per_hour": status.throughput.trials_per_hour,
            "epochs_per_second": status.throughput.epochs_per_second,
        }
    return whole


def _lines(status: StudyStatus, *, full: bool) -> Iterator[str]:
    unit = "nats" if status.distortion == "nll" else "SE"
    yield f"{status.name}  ({status.data}, D in {unit})"
    yield _row("trials", _trials(status))
    yield _row("front", f"{status.front_size} trials, hypervolume {status.hypervolume:.6g}")
    if status.throughput is not None:
        yield _row("throughput", _throughput(status))
    if status.finished < status.trials_wanted or status.untold:
        yield _row("queue", _queue(status))
    if status.sampler is not None:
        yield _row("sampler", _sampler(status))
    if status.stop is not None:
        yield _row("stop", _ORDERS[status.stop])
    if full:
        yield from (_row("launcher", _launcher(launcher)) for launcher in status.launchers)
    if status.workers:
        yield _row("workers", _census(status.workers))
    if full:
        yield from _details(status, unit)
    elif status.problems:
        count = len(status.problems) + status.problems_left_out
        yield _row("problems", f"{count}: rdsweep status {status.name}")


def _details(status: StudyStatus, unit: str) -> Iterator[str]:
    yield from _worker_lines(status.workers, unit)
    yield from _left_behind(status)
    if status.attempts:
        yield _row("attempts", _listed(status.attempts))
    yield from (f"    {_history(trial)}" for trial in status.repeated)
    if more := status.repeated_count - len(status.repeated):
        yield f"    and {more} more trials with several attempts"
    if status.problems:
        yield "  problems"
        yield from (f"    {problem}" for problem in status.problems)
    if status.problems_left_out:
        where = "--where \"state in ('diverged', 'failed')\" --columns number,error"
        yield f"    and {status.problems_left_out} more: rdsweep query {status.name} {where}"


def _row(name: str, text: str) -> str:
    return f"  {name:<10}  {text}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _trials(status: StudyStatus) -> str:
    states = _listed({str(state): count for state, count in status.states.items()})
    if status.reused:
        states += f", {status.reused} of them reused"
    return f"{status.finished} of {status.trials_wanted} finished ({states or 'none yet'})"


def _throughput(status: StudyStatus) -> str:
    speed = status.throughput
    if speed is None:
        return ""
    text = (
        f"{speed.trials_per_hour:.3g} trials/hour, {speed.epochs_per_second:.3g} epochs/s "
        f"in the last {in_words(speed.seconds)} of work"
    )
    left = speed.seconds_left
    return text if left is None else f"{text}; about {in_words(left)} left"


def _queue(status: StudyStatus) -> str:
    text = (
        f"{status.states['queued']} queued, {status.states['running']} running, "
        f"{status.untold} finished that the sampler is to be told"
    )
    return f"{text}; the space holds no further setting" if status.exhausted else text


def _sampler(status: StudyStatus) -> str:
    desk = status.sampler
    if desk is None:
        return ""
    who = desk.where or desk.holder
    if desk.seconds_left <= 0:
        return f"nobody asks it: the lease of {who} ran out {in_words(-desk.seconds_left)} ago"
    return f"asked by {who}, whose lease lasts {in_words(desk.seconds_left)}"


def _launcher(launcher: LauncherStatus) -> str:
    place = f"{launcher.kind} on {launcher.host}:{launcher.pid}"
    text = f"{place}, {launcher.liveness}, keeps {launcher.workers_wanted} workers"
    return text + _silence(launcher)


def _silence(process: WorkerStatus | LauncherStatus) -> str:
    quiet = process.liveness != "alive"
    return f", silent for {in_words(process.silent_seconds)}" if quiet else ""


def _census(workers: Sequence[WorkerStatus]) -> str:
    kinds = [worker.liveness for worker in workers]
    return _listed({kind: kinds.count(kind) for kind in ("alive", "late", "dead")})


def _worker_lines(workers: Sequence[WorkerStatus], unit: str) -> Iterator[str]:
    """A line for each worker; of very many, first of those that something is wrong with."""
    order = {"dead": 0, "late": 1, "alive": 2}
    chosen = sorted(workers, key=lambda each: (order[each.liveness], each.note is None))
    shown = {worker.id for worker in chosen[:_MOST_WORKERS]}
    place = max((len(_place(worker)) for worker in workers if worker.id in shown), default=0)
    device = max((len(worker.device) for worker in workers if worker.id in shown), default=0)
    for worker in workers:
        if worker.id in shown:
            head = f"{worker.liveness:<5}  {_place(worker):<{place}}  {worker.device:<{device}}"
            yield f"    {head}  {_business(worker, unit)}"
            if len(worker.trials) > 1:
                yield from _pack(worker.trials, unit)
            if worker.note:
                yield f"           {worker.note}"
    if more := len(workers) - len(shown):
        yield f"    and {more} more"


def _pack(trials: Sequence[RunningTrial], unit: str) -> Iterator[str]:
    """A line for each of the first trials that a worker trains together."""
    yield from (f"           {_in_hand(trial, unit)}" for trial in trials[:_MOST_OF_A_PACK])
    if len(trials) > _MOST_OF_A_PACK:
        yield f"           and {len(trials) - _MOST_OF_A_PACK} more trials"


def _place(worker: WorkerStatus) -> str:
    return f"{worker.host}:{worker.pid}"


def _business(worker: WorkerStatus, unit: str) -> str:
    match worker.trials:
        case []:
            text = "no trial in hand"
        case [trial]:
            text = _in_hand(trial, unit)
        case trials:
            text = f"{len(trials)} trials in hand"
    order = f", ordered to leave ({worker.stop})" if worker.stop else ""
    return text + order + _silence(worker)


def _in_hand(trial: RunningTrial, unit: str) -> str:
    text = f"trial {trial.number}"
    if trial.attempt > 1:
        text += f" (attempt {trial.attempt})"
    text += f", epoch {trial.epoch}/{trial.epochs}"
    distortion = trial.distortion_nll_nats if unit == "nats" else trial.distortion_se
    if trial.rate_nats is not None and distortion is not None:
        text += f", R = {trial.rate_nats:.2f} nats, D = {distortion:.2f} {unit}"
    return f"{text}, lease {_lease(trial)}"


def _lease(trial: RunningTrial) -> str:
    if trial.lease_seconds <= 0:
        return f"over for {in_words(-trial.lease_seconds)}"
    return in_words(trial.lease_seconds)


def _left_behind(status: StudyStatus) -> Iterator[str]:
    """The running trials whose worker has ended."""
    workers = {worker.id for worker in status.workers}
    for trial in status.running:
        if trial.worker not in workers:
            yield (
                f"    trial {trial.number} has lost its worker after epoch {trial.epoch}/"
                f"{trial.epochs}; any worker takes it over, lease {_lease(trial)}"
            )


def _history(trial: RepeatedTrial) -> str:
    """How the attempts before the last one ended; equal ends are counted."""
    *earlier, last = trial.attempts
    ends: dict[str, int] = {}
    for attempt in earlier:
        end = f"{attempt.outcome} ({attempt.reason})" if attempt.reason else str(attempt.outcome)
        ends[end] = ends.get(end, 0) + 1
    now = "runs" if last.outcome is None else last.outcome
    return f"trial {trial.number}  attempt {last.attempt} {now}; before it {_listed(ends)}"
