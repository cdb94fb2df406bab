"""Real sweeps for tests: specs on the digits, run by the real command in real processes."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_SECONDS = float(os.environ.get("RDSWEEP_TEST_PATIENCE", "120"))
"""How long a test waits for what should take seconds; more where the machine is busy."""

SPEC = """
[study]
name = "small"
trials = 8
sampler = "random"
[data]
name = "digits"
[model]
hidden = [16]
likelihood = "gaussian"
[train]
epochs = {epochs}
batch_size = 64
[run]
workers = 2
threads = 1
lease_seconds = 30
[space]
beta = {{ low = 0.01, high = 10, log = true }}
latent_dim = {{ low = 2, high = 8 }}
reduction = ["sum", "mean", "pixel_mean", "latent_mean", "batch_sum"]
annealing = ["constant", "linear", "sigmoid", "cyclical"]
"""


@dataclass
class Rdsweep:
    """The command line in a folder of its own.

    Attributes:
        folder: the working directory of every command.
        started: background processes, killed at the end of the test.
    """

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'rdsweep.db'}"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "sweeps.cli", *arguments]

    def __call__(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
        )
        assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def write_spec(self, *, epochs: int = 2, text: str = SPEC) -> Path:
        path = self.folder / "small.toml"
        path.write_text(text.format(epochs=epochs))
        return path
