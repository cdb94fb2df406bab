"""Which code and packages made a number."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("rdsweep", "torch", "torchvision", "optuna", "sqlalchemy", "numpy", "scikit-learn")


def code_version() -> str:
    """Rdsweep's own version, and the commit of the checkout that it runs from, if any."""
    root = Path(__file__).parent.parent
    released = package_versions()["rdsweep"]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return released
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return f"{released}+{described.stdout.strip()}" if described.returncode == 0 else released


def package_versions() -> dict[str, str]:
    """The version of Python and of each package that can move a number; "unknown" if not installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def process_versions(
    device: str, threads: int, precision: str = "float32", pack: str = "lone"
) -> dict[str, Any]:
    """All that is known of a process and can move a number: packages, CPU threads, hardware.

    Args:
        device: The torch device that it trains on.
        threads: Its CPU threads: sums of parts round otherwise than one sum.
        precision: Of the matrix products in training.
        pack: "lone" where trials train one at a time, else "packed": whatever the size of a pack and
            whoever is in it, a trial's numbers are the same, but they round otherwise than alone.
            "mixed" where a process did both.
    """
    return {
        **package_versions(),
        "threads": threads,
        "hardware": hardware_of(device),
        "precision": precision,
        "pack": pack,
    }


def hardware_of(device: str) -> str:
    """The model of the GPU, or of this machine's CPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((name for name in names if name), platform.processor() or platform.machine())
