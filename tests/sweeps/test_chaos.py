"""200 trials by 6 workers, while processes and the server are killed, stopped and ended at random.

RDSWEEP_CHAOS_SEED gives another sequence of blows, RDSWEEP_CHAOS_SECONDS more time. What was done is printed (`pytest -s`, or when
the test fails).
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from safetensors.torch import load_file

import postgres_server
from agreement import all_files, check_finished, check_rows
from chaos import TOKEN, Killer, cleared_up, plan, processes_with
from made_once import made_once
from patience import until
from studies.attempts import count_attempts
from studies.database import Database, open_database
from studies.errors import StudiesError
from studies.queries import artifacts_of, epochs_of, latents_of, query_trials
from studies.queue import outlook
from studies.records import TrialRecord
from studies.workers import list_workers
from sweeps.space import fingerprint

TRIALS, WORKERS, LEASE = 200, 6, 4.0
AT_MOST = float(os.environ.get("RDSWEEP_CHAOS_SECONDS", "400"))
"""It takes about 70 s on two idle cores."""

SEED = int(os.environ.get("RDSWEEP_CHAOS_SEED", "0"))
SPEC = f"""
[study]
name = "chaos"
trials = {TRIALS}
sampler = "grid"
max_attempts = 1000
[data]
name = "digits"
[model]
hidden = [8]
latent_dim = 2
[train]
epochs = 12
batch_size = 512
[evaluation]
samples = 1
iwae_samples = 2
diagnostic_examples = 50
[run]
workers = {WORKERS}
threads = 1
lease_seconds = {LEASE}
checkpoint_seconds = 0.1
[space]
seed = {list(range(20))}
beta = [0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0, 30.0]
"""
PACKS = {"sqlite": 1, "postgresql": 3}
"""How many trials each worker trains at a time."""

UNDISTURBED = {"sqlite": 1, "postgresql": 2}
"""The same for the run that each is compared with, bit for bit: packs of all sizes round alike."""

UNIMPORTANT: dict[str, Any] = {
    "number": 0,
    "uuid": "",
    "seconds": 0.0,
    "attempt": 0,
    "worker": None,
    "created_at": 0.0,
    "started_at": None,
    "finished_at": None,
}
"""What may differ between two runs; the number does because several desks share out the grid."""

Results = dict[str, tuple[Any, ...]]


def rdsweep(folder: Path, url: str, pack: int, token: str = "") -> subprocess.Popen[bytes]:
    """Starts `rdsweep run`, whose output goes to a file."""
    (folder / "chaos.toml").write_text(SPEC)
    words = ["run", "chaos.toml", "--no-report", "--storage", url]
    words += ["--set", f"study.artifacts={folder / 'files'}", "--set", f"run.pack={pack}"]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", *words],
            cwd=folder,
            env={**os.environ, TOKEN: token, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def results_of(db: Database, files: Path) -> Results:
    """All that each trial gave, bit for bit, by its settings."""
    epochs, latents = epochs_of(db, "chaos"), latents_of(db, "chaos")
    models = artifacts_of(db, "chaos", "checkpoint")
    kinds = ("reconstructions", "samples", "traversals", "traversal_latents")
    artifacts = [artifacts_of(db, "chaos", kind) for kind in kinds]
    found = {}
    for trial in query_trials(db, "chaos"):
        number = trial.number
        found[fingerprint(trial.parameters)] = (
            _settled(trial),
            tuple(replace(epoch, seconds=0.0) for epoch in epochs[number]),
            tuple(latents[number]),
            tuple(of_kind[number].sha256 for of_kind in artifacts),
            weights_in(files / str(models[number].path)),
        )
    return found


def weights_in(model: Path) -> str:
    """The weights in a file, which also tells how many seconds the last epoch took."""
    weights = load_file(model)
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(f"{name}{tuple(weights[name].shape)}".encode())
        found.update(weights[name].numpy().tobytes())
    return found.hexdigest()


def _settled(trial: TrialRecord) -> tuple[Any, ...]:
    same = replace(trial, **UNIMPORTANT)
    return tuple(repr(getattr(same, field.name)) for field in fields(same))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Results]:
    """What an undisturbed run of the same settings gives; made once for all test processes."""

    def results(back_end: str) -> Results:
        pack = UNDISTURBED[back_end]

        def make(folder: Path) -> None:
            assert rdsweep(folder, f"sqlite:///{folder / 'chaos.db'}", pack).wait(AT_MOST) == 0

        folder = made_once(tmp_path_factory, f"undisturbed-{pack}", make)
        db = open_database(f"sqlite:///{folder / 'chaos.db'}")
        check_finished(db, "chaos", TRIALS)
        return results_of(db, folder / "files")

    return results


def finished_in(db: Database) -> int:
    """How many trials are finished; none before there is a study."""
    try:
        return outlook(db, "chaos").finished
    except StudiesError:
        return 0


def training_in(db: Database) -> set[int]:
    """The pids of the workers that have a trial."""
    try:
        holders = {trial.worker for trial in query_trials(db, "chaos", where="state = 'running'")}
        return {worker.pid for worker in list_workers(db, "chaos") if worker.id in holders}
    except StudiesError:
        return set()


def survive(
    folder: Path, url: str, pack: int, server: postgres_server.PrivateServer | None
) -> Database:
    """Runs the sweep among blows, and looks at what is left."""
    token = uuid4().hex
    db = open_database(url)
    blows = plan(SEED, trials=TRIALS, lease_seconds=LEASE, server=server is not None)
    with cleared_up(token):
        killer = Killer(
            sweep=rdsweep(folder, url, pack, token),
            injections=blows,
            training=lambda: training_in(db),
            server=server,
        )
        try:
            status = killer.run(lambda: finished_in(db), at_most=AT_MOST)
        finally:
            print(f"seed {SEED}:", *killer.log, sep="\n")  # noqa: T201
            print((folder / "said.txt").read_text()[-5000:])  # noqa: T201
        assert status == 0
        until(lambda: not processes_with(token))
    return db


def check(db: Database, folder: Path, undisturbed: Results) -> None:
    """Nothing lost, nothing twice, nothing left over, everything the same; and it was not idle."""
    check_finished(db, "chaos", TRIALS)
    check_rows(db, "chaos")
    results = results_of(db, folder / "files")
    assert results.keys() == undisturbed.keys()
    assert [key for key in results if results[key] != undisturbed[key]] == []
    recorded = {artifact.path for artifact in artifacts_of(db, "chaos", "checkpoint").values()}
    files = all_files(folder / "files")
    assert {name for name in files if not name.startswith("chaos/logs/")} == recorded
    outcomes = count_attempts(db, "chaos")
    print(outcomes)  # noqa: T201
    assert outcomes["complete"] == TRIALS
    assert outcomes["lost"] >= 5
    words = [sys.executable, "-m", "sweeps.cli", "doctor", "chaos", "--storage", db.url]
    doctor = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr


@pytest.mark.timeout(AT_MOST + 200)
@pytest.mark.parametrize("back_end", ["sqlite", "postgresql"])
def test_a_sweep_survives_everything_and_gives_what_an_undisturbed_one_gives(
    tmp_path: Path, back_end: str, undisturbed: Callable[[str], Results]
) -> None:
    wanted, pack = undisturbed(back_end), PACKS[back_end]
    if back_end == "sqlite":
        url = f"sqlite:///{tmp_path / 'chaos.db'}"
        with closing(survive(tmp_path, url, pack, None)) as db:
            check(db, tmp_path, wanted)
        return
    if reason := postgres_server.missing():
        pytest.skip(reason)
    with (
        postgres_server.PrivateServer() as server,
        closing(survive(tmp_path, server.url, pack, server)) as db,
    ):
        check(db, tmp_path, wanted)
