"""What a trial costs in packs of several sizes: `Trainer` alone, without database and evaluation.

python benchmarks/pack_sizes.py [--case mlp] [--sizes 1 2 4 8] [--device cpu] [--repeats 3]

Prints a table and writes a picture. The cost is the median over epochs after a first one, divided
by the number of trials in the pack; on a CPU with one thread, as a worker of a sweep has.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import psutil
import torch

from cases import LEARNING_RATE, SEED, Case, Setting, case_of, grid, tiny
from flops import Limits, cost_of, measure_limits
from peak_memory import resident_mib
from vae_models.config import ObjectiveConfig, TrainConfig, TrialConfig
from vae_models.data import DataSet, load_data
from vae_models.results import Diverged
from vae_models.trainer import Trainer

SIZES = {"cpu": [1, 2, 4, 8], "cuda": [1, 2, 4, 8, 16, 32, 64, 128]}
PRECISIONS = ("float32", "bfloat16")


@final
@dataclass(frozen=True, kw_only=True)
class PackCost:
    """What one epoch of a pack took.

    Attributes:
        precision: Of the matrix products.
        size: Trials in the pack.
        seconds: Of one epoch of one trial: the epoch of the pack divided by its size.
        flops: Operations per second, as `flops` counts them.
        bandwidth: Bytes of parameters per second, likewise.
        mib: Memory: the most that torch held on a GPU; resident after the last epoch on a CPU.
    """

    precision: str
    size: int
    seconds: float
    flops: float
    bandwidth: float
    mib: float


def measure_pack(
    case: Case, data: DataSet, size: int, *, device: str, precision: str, repeats: int
) -> PackCost:
    """Trains a pack for one epoch and then for the measured ones."""
    settings = grid(size)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    configs = [_config(case, setting, epochs=repeats + 1) for setting in settings]
    trainer = Trainer(configs, data, device=device, slots=size, precision=precision)
    seconds = statistics.median([_epoch_seconds(trainer) for _ in range(repeats + 1)][1:])
    costs = [cost_of(case.family, case.image_shape, setting.latents) for setting in settings]
    steps = case.examples // case.batch_size
    return PackCost(
        precision=precision,
        size=size,
        seconds=seconds / size,
        flops=case.examples * sum(cost.flops_per_example for cost in costs) / seconds,
        bandwidth=steps * sum(cost.bytes_per_step for cost in costs) / seconds,
        mib=_memory_mib(device),
    )


def measure_packs(
    case: Case, sizes: Sequence[int], *, device: str, repeats: int
) -> Iterator[PackCost]:
    """Every size in both precisions; ends a precision where the GPU's memory does."""
    data = load_data(case.data_config)
    for precision in PRECISIONS:
        for size in sizes:
            try:
                yield measure_pack(
                    case, data, size, device=device, precision=precision, repeats=repeats
                )
            except torch.cuda.OutOfMemoryError:
                print(f"a pack of {size} in {precision} does not fit the GPU's memory")
                break
            finally:
                if device == "cuda":
                    torch.cuda.empty_cache()


def print_table(found: Sequence[PackCost], limits: Limits) -> None:
    """A Markdown table, with the gain over a pack of the first size."""
    first = {cost.precision: cost for cost in reversed(found)}
    print(
        "| precision | trials in the pack | ms per trial and epoch | against the first | ", end=""
    )
    print("of the matmul | of the copy, parameters | MiB |\n|---|---|---|---|---|---|---|")
    for cost in found:
        peak = limits.float32 if cost.precision == "float32" else limits.bfloat16
        copied = f"{cost.bandwidth / limits.bandwidth:.0%}" if limits.bandwidth else "–"
        gain = first[cost.precision].seconds / cost.seconds
        print(
            f"| {cost.precision} | {cost.size} | {1000 * cost.seconds:.3g} | {gain:.2f}× "
            f"| {cost.flops / peak:.0%} | {copied} | {cost.mib:,.0f} |"
        )


def draw(found: Sequence[PackCost], case: Case, title: str, file: Path) -> None:
    """The picture: cost per trial against pack size."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for precision in PRECISIONS:
        costs = [cost for cost in found if cost.precision == precision]
        sizes, times = [cost.size for cost in costs], [1000 * cost.seconds for cost in costs]
        axes.plot(sizes, times, marker="o", label=precision)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted({cost.size for cost in found}))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("trials in the pack")
    axes.set_ylabel("ms per trial and epoch")
    axes.set_title(f"{case.name}: cost per trial against pack size\n{title}", fontsize="medium")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _config(case: Case, setting: Setting, epochs: int) -> TrialConfig:
    return TrialConfig(
        model=case.model(setting.latents),
        objective=ObjectiveConfig(beta=setting.beta),
        train=TrainConfig(
            epochs=epochs, batch_size=case.batch_size, learning_rate=LEARNING_RATE, seed=SEED
        ),
    )


def _epoch_seconds(trainer: Trainer) -> float:
    started = time.perf_counter()
    results = list(trainer.train_epoch())
    seconds = time.perf_counter() - started
    ends = [result.message for result in results if isinstance(result, Diverged)]
    if ends:
        raise RuntimeError(ends[0])
    return seconds


def _memory_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resident_mib([psutil.Process()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="mlp", choices=["mlp", "conv28", "conv64"])
    parser.add_argument("--mnist", type=Path, default=Path("data"))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plots", type=Path, default=Path(__file__).parent, help="directory")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    case = case_of(arguments.case, arguments.mnist.absolute())
    case = tiny(case) if arguments.tiny else case
    device = arguments.device
    if device == "cpu":
        torch.set_num_threads(1)
    before = measure_limits(device, small=arguments.tiny)
    sizes = arguments.sizes or SIZES[device]
    found = list(measure_packs(case, sizes, device=device, repeats=arguments.repeats))
    limits = before.or_better(measure_limits(device, small=arguments.tiny))
    where = torch.cuda.get_device_name() if device == "cuda" else "one thread of the CPU"
    print(f"\n#### {case.name}: packs, {where}; limits: {limits.describe()}\n")
    print_table(found, limits)
    file = arguments.plots / f"packs-{case.name}-{device}.png"
    draw(found, case, where, file)
    print(f"\npicture: {file.name}", flush=True)


if __name__ == "__main__":
    main()
