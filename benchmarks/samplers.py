"""Which sampler finds the front soonest: hypervolume after 8, 16, 32 real trials, medians of seeds.

Each sampler runs the same spec with several seeds, one worker each so that runs repeat. The
hypervolume is taken against the study's fixed reference point and given as a share of the best
one that any run reached.

    python benchmarks/samplers.py [--seeds 5] [--trials 32]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studies.database import open_database
from studies.fronts import hypervolume
from studies.queries import query_trials
from studies.study_records import get_study

Points = NDArray[np.float64]
Reference = tuple[float, float]
SAMPLERS = ["random", "sobol", "tpe", "nsga2", "gp"]
SPEC = """
[study]
name = "samplers"
[data]
name = "digits"
[model]
hidden = [128]
sigma2 = 0.5
[train]
epochs = 30
batch_size = 64
[space]
beta = { low = 0.003, high = 30, log = true }
latent_dim = { low = 2, high = 32, log = true }
learning_rate = { low = 1e-4, high = 1e-1, log = true }
reduction = ["sum", "mean", "pixel_mean", "latent_mean"]
annealing = ["constant", "linear", "sigmoid", "cyclical"]
warmup = { low = 0.1, high = 0.9 }
"""


def points_of_run(folder: Path, sampler: str, seed: int, trials: int) -> tuple[Points, Reference]:
    """Rate and distortion of each trial in order of number (NaN if it has none), the reference."""
    place = folder / f"{sampler}-{seed}"
    place.mkdir()
    spec = place / "spec.toml"
    spec.write_text(SPEC)
    url = f"sqlite:///{place}/s.db"
    command = [sys.executable, "-m", "sweeps.cli", "run", str(spec), "--storage", url]
    command += ["--set", f"study.sampler={sampler}", "--set", f"study.seed={seed}"]
    command += ["--set", f"study.trials={trials}", "--workers", "1", "--no-report"]
    command += ["--set", "run.threads=1"]
    subprocess.run(command, check=True, capture_output=True)
    db = open_database(url)
    study = get_study(db, "samplers")
    rows = query_trials(db, "samplers", order_by="number")
    points = [(t.rate_nats or np.nan, t.distortion_se or np.nan) for t in rows]
    return np.array(points), (study.rate_reference_nats, study.distortion_reference)


def volumes(points: Points, reference: Reference, at: list[int]) -> list[float]:
    whole = [points[:count] for count in at]
    return [float(hypervolume(p[np.isfinite(p).all(axis=1)], reference)) for p in whole]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=32)
    arguments = parser.parse_args()
    at = [n for n in (8, 16, 32, 64, 128) if n <= arguments.trials]
    found: dict[str, list[list[float]]] = {sampler: [] for sampler in SAMPLERS}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        jobs = {
            (sampler, seed): pool.submit(
                points_of_run, Path(name), sampler, seed, arguments.trials
            )
            for seed in range(arguments.seeds)
            for sampler in SAMPLERS
        }
        for (sampler, _), job in jobs.items():
            found[sampler].append(volumes(*job.result(), at=at))
    best = max(volume for runs in found.values() for run in runs for volume in run)
    print("median (lowest to highest) hypervolume over seeds, % of the best run, after trials:")
    print(f"{'sampler':8s}" + "".join(f"{count:>22d}" for count in at))
    for sampler, runs in found.items():
        cells = []
        for column in zip(*runs, strict=True):
            share = [100 * volume / best for volume in column]
            cells.append(f"{statistics.median(share):.1f} ({min(share):.1f}–{max(share):.1f})")
        print(f"{sampler:8s}" + "".join(f"{cell:>22s}" for cell in cells))


if __name__ == "__main__":
    main()
