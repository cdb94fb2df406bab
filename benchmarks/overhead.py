"""What is not training: command-line start, ask/store/evaluate/tell per trial, a report of 200.

python benchmarks/overhead.py [--mnist DIRECTORY] [--epochs 20]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reports.report import write_report
from studies.database import open_database
from studies.queries import epochs_of, query_trials
from synthetic_study import synthetic_study


def seconds_of(command: list[str], times: int = 5) -> float:
    """The median wall time of a command, its first run left out."""
    measured = []
    for _ in range(times + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        measured.append(time.perf_counter() - started)
    return statistics.median(measured[1:])


def command_line() -> None:
    python = sys.executable
    print(f"rdsweep --help:     {seconds_of([python, '-m', 'sweeps.cli', '--help']):.2f} s")
    print(f"import sweeps.cli:  {seconds_of([python, '-c', 'import sweeps.cli']):.2f} s")


def per_trial(mnist: Path, epochs: int, folder: Path) -> None:
    """One worker, 6 trials of a 784-512-M MLP: wall time against seconds inside epochs."""
    spec = folder / "overhead.toml"
    spec.write_text(
        f"""
        [study]
        name = "overhead"
        trials = 6
        sampler = "tpe"
        [data]
        name = "mnist"
        root = "{mnist}"
        [train]
        epochs = {epochs}
        [run]
        workers = 1
        [space]
        beta = {{ low = 0.01, high = 10, log = true }}
        latent_dim = {{ low = 2, high = 64, log = true }}
        """
    )
    url = f"sqlite:///{folder}/overhead.db"
    command = [sys.executable, "-m", "sweeps.cli", "run", str(spec), "--storage", url]
    subprocess.run([*command, "--out", str(folder / "r")], check=True, capture_output=True)
    db = open_database(url)
    trials = query_trials(db, "overhead", order_by="number")
    training = sum(e.seconds for es in epochs_of(db, "overhead").values() for e in es)
    wall = (trials[-1].finished_at or 0.0) - trials[0].created_at
    print(
        f"one worker, {len(trials)} trials of {epochs} epochs: {wall:.2f} s, of which in epochs "
        f"{training:.2f} s; ask, store, evaluate and tell: {100 * (wall / training - 1):.1f}% of "
        "the training"
    )


def report_of_200(folder: Path) -> None:
    """A report of 200 complete trials with epochs, latents and pictures."""
    db = synthetic_study(f"sqlite:///{folder}/many.db", trials=200)
    started = time.perf_counter()
    write_report(db, "synthetic", folder / "report")
    print(f"report of 200 trials: {time.perf_counter() - started:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, default=Path("data"))
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    command_line()
    with tempfile.TemporaryDirectory() as name:
        per_trial(arguments.mnist.absolute(), arguments.epochs, Path(name))
        report_of_200(Path(name))


if __name__ == "__main__":
    main()
