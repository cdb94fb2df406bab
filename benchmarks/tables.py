"""The tables of training.py, in Markdown, to be pasted into RESULTS.md."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

import torch

from cases import Case, Setting
from competitors import Run
from flops import Cost, Limits, cost_of
from sweeps.devices import physical_cores

_REFERENCES = ("ours", "ours_full", "ours_float32", "lone", "shared")


@final
@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one case gave.

    Attributes:
        case: The case.
        settings: Of its trials.
        limits: Of the device.
        runs: Of every loop that finished, one for each repetition.
        failures: What the others said last.
    """

    case: Case
    settings: tuple[Setting, ...]
    limits: Limits
    runs: Mapping[str, list[Run]]
    failures: Mapping[str, str]

    @property
    def reference(self) -> str:
        """The loop that the others are compared with: ours, or the nearest to it that ran."""
        return next((name for name in _REFERENCES if name in self.runs), _REFERENCES[0])

    def median(self, name: str, value: Callable[[Run], float]) -> float:
        """Over the repetitions of a loop."""
        return statistics.median(value(run) for run in self.runs[name])

    def images(self) -> int:
        """Training images that all trials together take in."""
        return len(self.settings) * self.case.steps * self.case.batch_size

    def flops(self) -> float:
        """Operations of all trials together."""
        images = self.case.steps * self.case.batch_size
        return sum(images * cost.flops_per_example for cost in self._costs())

    def parameter_bytes(self) -> float:
        """Bytes of parameters, gradients and moments that all trials together move."""
        return sum(self.case.steps * cost.bytes_per_step for cost in self._costs())

    def _costs(self) -> list[Cost]:
        case = self.case
        return [cost_of(case.family, case.image_shape, one.latents) for one in self.settings]


def heading(command: str, device: str) -> str:
    """Command, date, machine and versions."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    machine = f"{_cpu_model()}, {physical_cores()} cores"
    if device == "cuda":
        machine += f"; {torch.cuda.get_device_name()}"
    packages = ", ".join(f"{name} {_version(name)}" for name in ("torch", "optuna", "pythae"))
    return (
        f"\n### Training: `{command}`, {today}\n\n"
        f"Machine: {machine}; Python {platform.python_version()}, {packages}."
    )


def print_rows(measured: Measured, device: str) -> None:
    """One row for each loop: speed, shares of the limits, memory, quality."""
    case, on_gpu = measured.case, device == "cuda"
    print(
        f"\n#### {case.name}: {len(measured.settings)} trials, {case.epochs} epochs of "
        f"{case.examples} images of {case.image_shape[1]}×{case.image_shape[2]}, "
        f"batch {case.batch_size}; limits: {measured.limits.describe()}\n"
    )
    columns = [
        "loop",
        "s, median (least–most)",
        "s in trials",
        "trials/h",
        "trials/h in trials",
        "images/s",
        "of the float32 / bfloat16 matmul",
        *(["of the copy, parameters", "GPU MiB"] if on_gpu else []),
        "MiB",
        f"{measured.reference} is faster by (in trials)",
        "R",
        "D",
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in measured.runs:
        print(f"| {' | '.join(_cells(measured, name, on_gpu=on_gpu))} |")
    for name, message in measured.failures.items():
        print(f"| {name} | failed: {message.replace('|', '/')} |{' |' * (len(columns) - 2)}")


def print_outcomes(measured: Measured) -> None:
    """Held-out R and D of every setting, loop beside loop."""
    names = list(measured.runs)
    if not names:
        return
    print(f"\nHeld-out R / D in nats:\n\n| β | M | {' | '.join(names)} |")
    print(f"|{'---|' * (2 + len(names))}")
    tables = [_by_setting(measured.runs[name][0]) for name in names]
    for setting in measured.settings:
        cells = [table.get(setting, "–") for table in tables]
        print(f"| {setting.beta:g} | {setting.latents} | {' | '.join(cells)} |")
    print(flush=True)


def _cells(measured: Measured, name: str, *, on_gpu: bool) -> list[str]:
    runs, limits, trials = measured.runs[name], measured.limits, len(measured.settings)
    seconds = measured.median(name, _whole)
    inside = measured.median(name, _in_trials)
    times = sorted(run.seconds for run in runs)
    rate = measured.flops() / inside
    gpu = []
    if on_gpu and limits.bandwidth:
        share = measured.parameter_bytes() / inside / limits.bandwidth
        gpu = [f"{share:.1%}", f"{measured.median(name, lambda run: run.device_mib):,.0f}"]
    outcomes = runs[0].outcomes
    missing = f" ({len(outcomes)} of {trials})" if len(outcomes) < trials else ""
    return [
        name,
        f"{seconds:.1f} ({times[0]:.1f}–{times[-1]:.1f})",
        f"{inside:.1f}",
        f"{3600 * trials / seconds:,.0f}",
        f"{3600 * trials / inside:,.0f}",
        f"{measured.images() / inside:,.0f}",
        f"{rate / limits.float32:.1%} / {rate / limits.bfloat16:.1%}",
        *gpu,
        f"{measured.median(name, lambda run: run.host_mib):,.0f}",
        _ratio(measured, name),
        f"{statistics.fmean(one.rate_nats for one in outcomes):.2f}{missing}",
        f"{statistics.fmean(one.distortion_nats for one in outcomes):.2f}",
    ]


def _ratio(measured: Measured, name: str) -> str:
    if measured.reference not in measured.runs:
        return "–"
    whole, inside = (
        measured.median(name, value) / measured.median(measured.reference, value)
        for value in (_whole, _in_trials)
    )
    return f"{whole:.2f}× ({inside:.2f}×)"


def _whole(run: Run) -> float:
    return run.seconds


def _in_trials(run: Run) -> float:
    return run.trial_seconds


def _by_setting(run: Run) -> dict[Setting, str]:
    return {
        Setting(beta=one.beta, latents=one.latents): (
            f"{one.rate_nats:.2f} / {one.distortion_nats:.2f}"
        )
        for one in run.outcomes
    }


def _cpu_model() -> str:
    """As Linux names it, with the family: virtual machines often hide the rest."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    name, family = facts.get("model name", platform.machine()), facts.get("cpu family", "?")
    return f"{name} (family {family}, model {facts.get('model', '?')})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
