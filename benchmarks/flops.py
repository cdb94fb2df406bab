"""What a training step costs at least, and what the device gives at most.

Floating-point operations are those of the matrix products and convolutions, forward and backward,
as torch.utils.flop_counter counts them (a multiplication and an addition are two; the gradient to
the images, which nobody asks for, is not among them). Activations, losses and Adam are left out.
Bytes are what must be moved of the parameters in a step, each counted once: read in the forward
and in the backward pass, the gradient written; Adam reads the parameter, the gradient and two
moments and writes three of these. That is ten times the parameters, four bytes each.

The limits are measured where the benchmark runs, before it and after it (the higher counts): a large square matrix product in float32
(without TF32) and one in bfloat16, and on a GPU the copy of a large tensor. Torch's convolutions
in float32 take TF32 on a GPU, so their share of the float32 limit can be above one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import final

import torch
from torch.utils.flop_counter import FlopCounterMode

from cases import Case, plain_networks

MOVES_PER_PARAMETER = 10
_BYTES = 4
_SIDES = {"cpu": 2048, "cuda": 8192}
_FEWEST, _SHORTEST = 10, 0.5  # times, seconds
_COPIED = 2**28  # float32 numbers, one GiB


@final
@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a trial costs at least: operations for an example, bytes for a step."""

    flops_per_example: float
    bytes_per_step: float


@final
@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the device gives: operations and bytes per second; bytes only on a GPU."""

    float32: float
    bfloat16: float
    bandwidth: float | None

    def or_better(self, other: "Limits") -> "Limits":
        """The higher of each: what else the machine does can only lower a measured limit."""
        return Limits(
            float32=max(self.float32, other.float32),
            bfloat16=max(self.bfloat16, other.bfloat16),
            bandwidth=max(self.bandwidth or 0.0, other.bandwidth or 0.0) or None,
        )

    def describe(self) -> str:
        """In one line."""
        text = f"float32 {self.float32 / 1e12:.3g}, bfloat16 {self.bfloat16 / 1e12:.3g} TFLOP/s"
        return text if self.bandwidth is None else f"{text}, copy {self.bandwidth / 1e9:.0f} GB/s"


@cache
def cost_of(family: str, image_shape: tuple[int, int, int], latents: int) -> Cost:
    """What one example and one step of a network cost."""
    case = Case(
        name="",
        data={},
        image_shape=image_shape,
        examples=1,
        family=family,
        batch_size=1,
        epochs=1,
    )
    encoder, decoder = plain_networks(case.build(latents))
    batch = 2
    with FlopCounterMode(display=False) as counter:
        codes = encoder(torch.zeros(batch, *image_shape))[:, :latents]
        decoder(codes).sum().backward()
    parameters = sum(p.numel() for net in (encoder, decoder) for p in net.parameters())
    return Cost(
        flops_per_example=counter.get_total_flops() / batch,
        bytes_per_step=float(MOVES_PER_PARAMETER * _BYTES * parameters),
    )


def measure_limits(device: str, *, small: bool = False) -> Limits:
    """The limits of the device, with the threads that torch has here."""
    side = 512 if small else _SIDES[device]
    limits = Limits(
        float32=_matmul_flops(device, torch.float32, side),
        bfloat16=_matmul_flops(device, torch.bfloat16, side),
        bandwidth=_copy_bandwidth(device) if device == "cuda" else None,
    )
    if device == "cuda":
        torch.cuda.empty_cache()
    return limits


def _matmul_flops(device: str, kind: torch.dtype, side: int) -> float:
    left, right = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    out = torch.empty_like(left)
    return 2 * side**3 / _least_seconds(device, lambda: torch.matmul(left, right, out=out))


def _copy_bandwidth(device: str) -> float:
    source = torch.zeros(_COPIED, device=device)
    target = torch.empty_like(source)
    return 2 * _BYTES * _COPIED / _least_seconds(device, lambda: target.copy_(source))


def _least_seconds(device: str, work: Callable[[], object]) -> float:
    """The least of at least ten and of half a second, after one to warm up."""
    seconds: list[float] = []
    while len(seconds) <= _FEWEST or sum(seconds[1:]) < _SHORTEST:
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
