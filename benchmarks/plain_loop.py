"""16 trials of an MLP VAE: `rdsweep run` against the loop that people write, on the same settings.

The loop: Optuna with `n_jobs=1`, a DataLoader, Adam, `loss.item()` each step, evaluation on
held-out data at the end; torch with its default threads. rdsweep: the command, with its default
workers. Both get the same (β, M) grid, network, data, batch size and number of epochs.

    python benchmarks/plain_loop.py [--mnist DIRECTORY] [--epochs 20]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from studies.database import open_database
from studies.queries import query_trials
from vae_models.data import DataSet, load_data
from vae_models.data_config import DataConfig

BETAS = [0.1, 0.5, 2.0, 8.0]
LATENTS = [2, 8, 16, 32]
BATCH = 128


class PlainVAE(nn.Module):
    """The 784-512-M network as tutorials write it."""

    def __init__(self, pixels: int, latents: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, 512), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(512, latents), nn.Linear(512, latents)
        self.decoder = nn.Sequential(nn.Linear(latents, 512), nn.ReLU(), nn.Linear(512, pixels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def losses(model: PlainVAE, x: Tensor) -> tuple[Tensor, Tensor]:
    logits, mean, log_variance = model(x)
    nll = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(x)
    return nll, rate


def plain_objective(trial: optuna.Trial, data: DataSet, epochs: int) -> tuple[float, float]:
    beta = trial.suggest_categorical("beta", BETAS)
    latents = trial.suggest_categorical("latent_dim", LATENTS)
    torch.manual_seed(0)
    everything = torch.arange(len(data.train))
    images = data.batch(everything, torch.Generator()).flatten(1)
    loader = DataLoader(TensorDataset(images), batch_size=BATCH, shuffle=True, drop_last=True)
    model = PlainVAE(data.pixels, latents)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        total = 0.0
        for (x,) in loader:
            optimiser.zero_grad()
            nll, rate = losses(model, x)
            loss = nll + beta * rate
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.item()
    with torch.no_grad():
        nll, rate = losses(model, data.heldout_images().flatten(1))
    return rate.item(), nll.item()


def run_plain(data: DataSet, epochs: int) -> tuple[float, list[tuple[float, float]]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid: dict[str, Sequence[float]] = {"beta": BETAS, "latent_dim": LATENTS}
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=optuna.samplers.GridSampler(grid, seed=0)
    )
    started = time.perf_counter()
    study.optimize(lambda trial: plain_objective(trial, data, epochs), n_trials=16, n_jobs=1)
    seconds = time.perf_counter() - started
    return seconds, sorted((t.values[0], t.values[1]) for t in study.trials)


def run_rdsweep(mnist: Path, epochs: int, folder: Path) -> tuple[float, list[tuple[float, float]]]:
    spec = folder / "bench.toml"
    spec.write_text(
        f"""
        [study]
        name = "bench"
        trials = 16
        sampler = "grid"
        distortion = "nll"
        [data]
        name = "mnist"
        root = "{mnist}"
        [model]
        likelihood = "bernoulli"
        hidden = [512]
        [train]
        epochs = {epochs}
        batch_size = {BATCH}
        learning_rate = 1e-3
        [space]
        beta = {BETAS}
        latent_dim = {LATENTS}
        """
    )
    url = f"sqlite:///{folder}/bench.db"
    command = [sys.executable, "-m", "sweeps.cli", "run", str(spec), "--storage", url]
    started = time.perf_counter()
    subprocess.run([*command, "--out", str(folder / "report")], check=True, capture_output=True)
    seconds = time.perf_counter() - started
    trials = query_trials(open_database(url), "bench")
    return seconds, sorted((t.rate_nats or 0.0, t.distortion_nll_nats or 0.0) for t in trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, default=Path("data"))
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    root = arguments.mnist.absolute()
    data = load_data(DataConfig(name="mnist", root=str(root)))
    plain_seconds, plain_points = run_plain(data, arguments.epochs)
    with tempfile.TemporaryDirectory() as folder:
        our_seconds, our_points = run_rdsweep(root, arguments.epochs, Path(folder))
    print(f"16 trials, {arguments.epochs} epochs of {len(data.train)} images, batch {BATCH}")
    print(f"plain loop (Optuna n_jobs=1, DataLoader, .item()): {plain_seconds:7.1f} s")
    print(f"rdsweep run (start, database and report included): {our_seconds:7.1f} s")
    print(f"ratio: {plain_seconds / our_seconds:.2f}")
    print("held-out (R, D) in nats, sorted by R: plain | rdsweep")
    for plain, ours in zip(plain_points, our_points, strict=True):
        print(f"  {plain[0]:7.2f} {plain[1]:7.2f} | {ours[0]:7.2f} {ours[1]:7.2f}")


if __name__ == "__main__":
    main()
