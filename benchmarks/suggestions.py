"""Suggestions per second: the desk and its queue against plain `study.optimize`, on PostgreSQL.

python benchmarks/suggestions.py [--workers 1 8 32 64] [--samplers tpe random] [--seconds 0.05]

Training is replaced by a sleep. Both sides get the same server (the embedded one with its usual
settings, and room for more connections), the same space, as many trials and as many processes.
Ours lease, finish and beat as `rdsweep worker` does, and a real desk suggests; plain Optuna's call
`study.optimize` on one study, as its documentation says. A rate is (trials - 1) / (start of the last
trial - start of the first), so starting Python counts on neither side.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:  # a plain worker has none of our modules
    from optuna.storages import RDBStorage

    from studies.database import Database
    from studies.records import Lease

TRIALS = {1: 100, 8: 300, 32: 600, 64: 600}
BETA = (0.01, 100.0)
LATENTS = (2, 64)
ANNEALINGS = ("constant", "linear", "sigmoid", "cyclical")
SPACES: Mapping[str, Mapping[str, Any]] = {
    "continuous": {
        "beta": {"low": BETA[0], "high": BETA[1], "log": True},
        "latent_dim": {"low": LATENTS[0], "high": LATENTS[1], "log": True},
        "annealing": list(ANNEALINGS),
    },
    "discrete": {
        "latent_dim": {"low": LATENTS[0], "high": LATENTS[1]},
        "annealing": [*ANNEALINGS],
    },
}
"""The discrete space has 252 points; half of them are asked for."""

LEASE_SECONDS = 60.0
_LONGEST_PAUSE = 1.0  # as in sweeps.worker


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run is asked to do."""

    name: str
    url: str
    workers: int
    trials: int
    sampler: str
    space: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run gave.

    Attributes:
        rate: trials started per second.
        trials: how many were finished.
        duplicates: trials with settings that an earlier one had.
        connections: most connections to the server at one moment.
        worker_mib: resident memory of a worker, the median.
        desk_mib: resident memory of the desk; 0 where there is none.
    """

    rate: float
    trials: int
    duplicates: int
    connections: int
    worker_mib: float
    desk_mib: float


def prepare_ours(load: Load) -> None:
    """Our study, and Optuna's beside it."""
    from studies.database import open_database, prepare_schema
    from studies.records import StudyRecord
    from studies.study_records import create_study
    from sweeps.optuna_store import create_optuna_study
    from sweeps.spec import Spec

    spec = Spec.from_dict(
        {
            "study": {"name": load.name, "trials": load.trials, "sampler": load.sampler},
            "data": {"name": "digits"},
            "run": {"lease_seconds": LEASE_SECONDS},
            "space": SPACES[load.space],
        }
    )
    db = open_database(load.url)
    prepare_schema(db)
    create_optuna_study(db, db.url, spec)
    create_study(
        db,
        StudyRecord(
            name=load.name,
            spec=spec.to_dict(),
            spec_hash=spec.hash,
            distortion="se",
            trials_wanted=load.trials,
            sampler=load.sampler,
            data={"name": "digits", "checksum": "", "train_size": 1498, "image_shape": [1, 8, 8]},
            spectrum=(1.0,),
            rate_reference_nats=50.0,
            distortion_reference=20.0,
            artifacts_url="files",
            code_version="0",
            packages={},
        ),
    )
    db.close()


def work_ours(load: Load, index: int) -> None:
    """One worker: all that `rdsweep worker` does, but for the training."""
    from studies.database import open_database
    from studies.leases import take_trial
    from studies.queue import outlook
    from studies.retries import PATIENCE_SECONDS
    from studies.workers import end_worker, register_worker
    from sweeps.desk_process import DeskProcess
    from sweeps.heartbeat import Heartbeat

    db = open_database(load.url, patience_seconds=PATIENCE_SECONDS)
    worker = f"{load.name}-{index}"
    register_worker(
        db,
        load.name,
        worker,
        host="here",
        pid=os.getpid(),
        process_started_at=psutil.Process().create_time(),
        device="cpu",
        versions={},
    )
    desk = DeskProcess(db, load.name, worker, LEASE_SECONDS)
    pause = 0.05
    with Heartbeat(db, worker, LEASE_SECONDS) as heartbeat:
        while True:
            lease = take_trial(db, load.name, worker, lease_seconds=LEASE_SECONDS, max_attempts=3)
            if lease is not None:
                heartbeat.hold(lease)
                time.sleep(load.seconds)
                _finish(db, lease)
                heartbeat.drop(lease)
                pause = 0.05
            elif outlook(db, load.name).over:
                break
            else:
                desk.ensure()
                time.sleep(pause * random.uniform(0.7, 1.3))
                pause = min(1.5 * pause, _LONGEST_PAUSE)
    desk.close()
    end_worker(db, worker)
    db.close()


def _finish(db: "Database", lease: "Lease") -> None:
    from studies.outcomes import finish_trial
    from studies.records import EvaluationRecord

    rate, distortion = _outcome(
        lease.config["objective"]["beta"], lease.config["model"]["latent_dim"]
    )
    evaluation = EvaluationRecord(
        rate_nats=rate,
        rate_stderr_nats=0.1,
        distortion_se=distortion,
        distortion_se_stderr=0.1,
        distortion_nll_nats=distortion,
        distortion_nll_stderr_nats=0.1,
        elbo_nats=-rate - distortion,
        mse=distortion / 64,
        psnr_db=None,
        active_units=1,
        collapsed=False,
    )
    finish_trial(db, lease, evaluation, [], [])


def _outcome(beta: float, latents: int) -> tuple[float, float]:
    """A smooth front: a larger beta buys distortion with rate."""
    return 20 / (1 + beta), 5 * math.log1p(beta) + latents / 32


def look_ours(load: Load) -> tuple[list[float], list[str]]:
    """Starts of the trials, and their settings."""
    from studies.database import open_database
    from studies.queries import query_trials

    db = open_database(load.url)
    found = query_trials(db, load.name, where="state = 'complete'")
    db.close()
    return [trial.created_at for trial in found], [repr(trial.parameters) for trial in found]


def _storage(load: Load) -> "RDBStorage":
    from optuna.storages import RDBStorage

    # what our own workers have, so that 64 processes do not run out of connections
    pool = {"pool_size": 1, "max_overflow": 2, "pool_pre_ping": True}
    url = load.url.replace("postgresql:", "postgresql+psycopg:")
    return RDBStorage(url, engine_kwargs=pool)


def prepare_plain(load: Load) -> None:
    """Optuna's study alone."""
    import optuna

    optuna.create_study(
        storage=_storage(load), study_name=f"plain-{load.name}", directions=["minimize"] * 2
    )


def work_plain(load: Load, _index: int) -> None:
    """One worker as in Optuna's documentation on parallel optimisation."""
    import optuna
    from optuna.study import MaxTrialsCallback

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler() if load.sampler == "random" else None
    study = optuna.load_study(
        storage=_storage(load), study_name=f"plain-{load.name}", sampler=sampler
    )

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        beta = (
            trial.suggest_float("beta", *BETA, log=True) if "beta" in SPACES[load.space] else 1.0
        )
        latents = trial.suggest_int("latent_dim", *LATENTS, log=load.space == "continuous")
        trial.suggest_categorical("annealing", ANNEALINGS)
        time.sleep(load.seconds)
        return _outcome(beta, latents)

    study.optimize(objective, callbacks=[MaxTrialsCallback(load.trials)])


def look_plain(load: Load) -> tuple[list[float], list[str]]:
    """Starts of the trials, and their settings; those that are more than was asked for left out."""
    import optuna

    study = optuna.load_study(storage=_storage(load), study_name=f"plain-{load.name}")
    found = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    starts = sorted((trial.datetime_start.timestamp(), repr(trial.params)) for trial in found
                    if trial.datetime_start is not None)  # fmt: skip
    first = starts[: load.trials]
    return [start for start, _ in first], [params for _, params in first]


def _work(side: str, load: Load, index: int, ready: Semaphore, start: Event) -> None:
    ready.release()
    start.wait()
    (work_ours if side == "ours" else work_plain)(load, index)


PRELOADED = {
    "ours": [
        "studies.leases",
        "studies.outcomes",
        "sweeps.desk_process",
        "sweeps.heartbeat",
        "psycopg",
    ],
    "plain": ["optuna", "optuna.storages", "optuna.samplers", "scipy.stats", "psycopg"],
}
"""What each side's workers import, in the process that they are forked from."""


def measure(side: str, load: Load) -> Measured:
    """Runs all workers to the end of the study."""
    (prepare_ours if side == "ours" else prepare_plain)(load)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED[side], "__main__"])
    ready, start = context.Semaphore(0), context.Event()
    processes = [
        context.Process(target=_work, args=(side, load, index, ready, start))
        for index in range(load.workers)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    start.set()
    watch = _Watch(load.url, [process.pid or 0 for process in processes])
    while any(process.is_alive() for process in processes):
        watch.look()
        time.sleep(0.5)
    starts, settings = (look_ours if side == "ours" else look_plain)(load)
    return Measured(
        rate=(len(starts) - 1) / (max(starts) - min(starts)),
        trials=len(starts),
        duplicates=len(settings) - len(set(settings)),
        connections=watch.connections,
        worker_mib=watch.worker_mib,
        desk_mib=watch.desk_mib,
    )


class _Watch:
    """Counts connections and memory while the workers run."""

    def __init__(self, url: str, pids: list[int]) -> None:
        import psycopg

        self._pids = pids
        self._server = psycopg.connect(url, autocommit=True)
        self.connections = 0
        self.worker_mib = 0.0
        self.desk_mib = 0.0

    def look(self) -> None:
        """One look; the largest values count."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        row = self._server.execute(query).fetchone()
        self.connections = max(self.connections, row[0] - 1 if row else 0)
        memory = [mib for pid in self._pids if (mib := _resident_mib(pid))]
        if memory:
            self.worker_mib = max(self.worker_mib, statistics.median(memory))
        for pid in self._pids:
            with suppress(psutil.Error):
                for desk in psutil.Process(pid).children():
                    self.desk_mib = max(self.desk_mib, _resident_mib(desk.pid))


def _resident_mib(pid: int) -> float:
    with suppress(psutil.Error):
        return float(psutil.Process(pid).memory_info().rss) / 2**20
    return 0.0


def measured_apart(side: str, load: Load) -> Measured:
    """Measures in a process of its own, so that neither side has the other's modules."""
    words = [sys.executable, __file__, "--side", side, "--load", json.dumps(asdict(load))]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def print_row(load: Load) -> None:
    """Measures both sides, and prints a line of the table."""
    ours, plain = (measured_apart(side, load) for side in ("ours", "plain"))
    print(
        f"| {load.workers} | {load.sampler}, {load.space} | {ours.rate:.1f} | {plain.rate:.1f} "
        f"| {ours.rate / plain.rate:.1f} | {ours.duplicates} / {plain.duplicates} of {load.trials} "
        f"| {ours.connections} / {plain.connections} "
        f"| {ours.worker_mib:.0f} + desk {ours.desk_mib:.0f} / {plain.worker_mib:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random"])
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(asdict(measure(given.side, Load(**json.loads(given.load))))))
        return
    runs = [
        (workers, sampler, "continuous") for sampler in given.samplers for workers in given.workers
    ]
    compare([*runs, (8, "tpe", "discrete"), (32, "tpe", "discrete")], given.seconds)


def compare(runs: list[tuple[int, str, str]], seconds: float) -> None:
    """Measures each of (workers, sampler, space) on a server of its own."""
    from studies.embedded_server import EmbeddedServer

    print(
        "| workers | trials of | ours, /s | plain, /s | ratio | duplicates | connections | MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="rdsweep-bench-") as folder:
        settings = {"max_connections": 300}
        server = EmbeddedServer(directory=Path(folder) / "server", settings=settings)
        url = server.start().url
        try:
            for workers, sampler, space in runs:
                trials = 126 if space == "discrete" else TRIALS.get(workers, 10 * workers)
                name = f"{space}-{sampler}-{workers}"
                print_row(
                    Load(
                        name=name,
                        url=url,
                        workers=workers,
                        trials=trials,
                        sampler=sampler,
                        space=space,
                        seconds=seconds,
                    )
                )
        finally:
            server.stop("immediate")


if __name__ == "__main__":
    main()
