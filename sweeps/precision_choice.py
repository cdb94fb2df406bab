"""In which precision a worker's matrix products are computed."""

from pathlib import Path

import torch

__all__ = ["choose_precision"]

_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})


def choose_precision(wanted: str, device: str) -> str:
    """What is wanted; of "auto", the trainer's "mixed" where the device can, else "float32".

    A GPU gains by bfloat16 whatever the network; a CPU only where a step has enough to compute.

    Args:
        wanted: As in a spec.
        device: The torch device that is trained on.
    """
    if wanted != "auto":
        return wanted
    if not _has_bfloat16(device):
        return "float32"
    return "mixed" if device == "cpu" else "bfloat16"


def _has_bfloat16(device: str) -> bool:
    kind = device.partition(":")[0]
    if kind == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and bool(_CPU_FLAGS & _cpu_flags())


def _cpu_flags() -> frozenset[str]:
    """What this machine's CPU can do, in the words of Linux; nothing where that is not told."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
