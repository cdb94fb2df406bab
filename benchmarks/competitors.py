"""Runs one loop over one case from start to end, and says what it took."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, final

from loops import Job, Outcome, create_study
from peak_memory import PeakMemory
from studies.database import open_database
from studies.queries import query_trials

OTHERS: Mapping[str, str] = {
    "hand": "hand_loop.py",
    "hand_tensors": "hand_loop.py",
    "pythae": "pythae_loop.py",
}
"""The programs of the loops that others wrote."""

OURS: Mapping[str, Mapping[str, str]] = {
    "lone": {"run.pack": "1"},
    "ours": {},
    "ours_float32": {"run.precision": "float32"},
    "shared": {"run.pack": "1"},
    "ours_full": {},
}
"""The settings with which `rdsweep run` is called, beside those of the case."""

_UNCOMPARED = {
    "evaluation.iwae_samples": "0",
    "evaluation.diagnostic_examples": "0",
    "evaluation.disentanglement": "false",
}
_LAST_LINES = 3


class CompetitorError(Exception):
    """A loop did not finish; the message is the end of what it said."""


@final
@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run took.

    Attributes:
        seconds: From the command to the last result.
        trial_seconds: From the start of the first trial to the end of the last.
        host_mib: Most resident memory of all processes.
        device_mib: Most memory on the GPU.
        outcomes: What the trials reached on held-out data.
    """

    seconds: float
    trial_seconds: float
    host_mib: float
    device_mib: float
    outcomes: tuple[Outcome, ...]


def run_others(name: str, job: Job, processes: int) -> Run:
    """Runs a loop in as many processes on one study; evaluation is not timed."""
    on_gpu = job.device != "cpu"
    workers = job.loader_workers if name == "hand" and on_gpu else 0
    job = replace(job, tensors=name == "hand_tensors", loader_workers=workers)
    order = job.folder / "job.pickle"
    order.write_bytes(pickle.dumps(job))
    command = [sys.executable, str(Path(__file__).with_name(OTHERS[name])), str(order)]
    log = job.folder / "log"
    with log.open("w") as errors, PeakMemory(job.device) as peak:
        started = time.perf_counter()
        create_study(job)
        count = min(processes, len(job.settings))
        with _started(command, job.threads, errors, count) as children:
            stamps = [json.loads(_answer(child, log)) for child in children]
            seconds = time.perf_counter() - started
            host_mib, device_mib = peak.host_mib, peak.device_mib
            outcomes = _outcomes(children, log)
    return Run(
        seconds=seconds,
        trial_seconds=max(end for _, end in stamps) - min(begin for begin, _ in stamps),
        host_mib=host_mib,
        device_mib=device_mib,
        outcomes=outcomes,
    )


def run_ours(name: str, job: Job, workers: int) -> Run:
    """Calls `rdsweep run`; start, database and evaluation are timed, in `ours_full` the report too."""
    spec = job.folder / "spec.toml"
    spec.write_text(job.case.spec(name, job.settings))
    settings = {"run.device": job.device, **OURS[name]}
    if name != "ours_full":
        settings |= _UNCOMPARED
    if workers:
        settings["run.workers"] = str(workers)
    command = [sys.executable, "-m", "sweeps.cli", "run", str(spec), "--storage", job.url]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    full = name == "ours_full"
    command += ["--out", str(job.folder / "report")] if full else ["--no-report"]
    with PeakMemory(job.device) as peak:
        started = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - started
    if done.returncode:
        raise CompetitorError(_end_of(done.stderr or done.stdout))
    trial_seconds, outcomes = _recorded(job.url, name)
    return Run(
        seconds=seconds,
        trial_seconds=trial_seconds,
        host_mib=peak.host_mib,
        device_mib=peak.device_mib,
        outcomes=outcomes,
    )


@contextmanager
def _started(
    command: list[str], threads: int, errors: IO[str], count: int
) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes, none of which outlives the block."""
    children = [_start(command, threads, errors) for _ in range(count)]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def _start(command: list[str], threads: int, errors: IO[str]) -> subprocess.Popen[str]:
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if threads}
    return subprocess.Popen(
        command,
        env={**os.environ, **counts, "TQDM_DISABLE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def _answer(child: subprocess.Popen[str], log: Path) -> str:
    line = child.stdout.readline() if child.stdout else ""
    if not line:
        raise CompetitorError(_end_of(log.read_text()))
    return line


def _outcomes(children: list[subprocess.Popen[str]], log: Path) -> tuple[Outcome, ...]:
    """Has all children measure their models, at the same time."""
    for child in children:
        if child.stdin:
            child.stdin.write("measure\n")
            child.stdin.flush()
    rows = [row for child in children for row in json.loads(_answer(child, log))]
    return tuple(Outcome(**row) for row in rows)


def _recorded(url: str, study: str) -> tuple[float, tuple[Outcome, ...]]:
    """How long the trials took together, and what they reached, from the database."""
    db = open_database(url)
    trials = query_trials(db, study, where="state = 'complete'")
    db.close()
    if not trials:
        raise CompetitorError("no trial is complete")
    outcomes = tuple(
        Outcome(
            beta=trial.beta or 0.0,
            latents=trial.latent_dim,
            rate_nats=trial.rate_nats or 0.0,
            distortion_nats=trial.distortion_nll_nats or 0.0,
        )
        for trial in trials
    )
    begin = min(trial.started_at or trial.created_at for trial in trials)
    return max(trial.finished_at or 0.0 for trial in trials) - begin, outcomes


def _end_of(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-_LAST_LINES:]) or "it said nothing"
