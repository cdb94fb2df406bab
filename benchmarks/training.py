"""Trials per hour: `rdsweep run` against the loop that people write and against pythae, side by side.

    make bench-train          (CPU)        make bench-gpu          (GPU)
    make bench-train BENCH="--case mlp --only hand ours --repeats 1 --trials 4 --epochs 2"

All loops train the same settings (beta and number of latents mixed) of the same networks, from the
same weights, on the same images with Adam, and each is a command of its own:

    hand          Optuna, torchvision's MNIST with ToTensor in a DataLoader, Adam, `.item()` each step;
                  a process per core with one thread (CPU), or one process (GPU). Images that
                  torchvision does not have go through ToTensor from an array.
    hand_tensors  the same with a TensorDataset: what opening each image costs is the difference
    pythae        pythae's BetaVAE and trainer in as many processes
    lone          `rdsweep run` with run.pack=1: no packs
    ours          `rdsweep run` as it is
    ours_float32  `rdsweep run` with run.precision="float32"
    shared        GPU only: several workers share it, without packs (--shared)
    ours_full     `rdsweep run` with what it does beyond the others: the IWAE bound and other
                  diagnostics at the end of each trial, and the report

What is timed: of ours everything, from the command to the last stored evaluation; of the others,
from making the study to the last trained model; they measure nothing in that time. All but
`ours_full` run with iwae_samples=0, diagnostic_examples=0, disentanglement=false and without a
report, so that they do no work that the others do not do. "In trials" counts from the start of the first trial to the end of
the last: starting Python, importing torch and reading data left out, which is what many trials come
to. Of ours it holds the evaluations. The others' processes have imported what torch's
optimisers import (more than a second) before their first trial.

Images per second and the shares of the limits are "in trials". The shares: floating-point
operations of the matrix products (forward and backward, per example) per second, against a large
float32 and a bfloat16 matrix product measured in the same run; on a GPU also the bytes of parameters,
gradients and Adam's moments per second, against a large copy (see flops.py). Memory is the most
that all processes together held resident; GPU memory the most in use beyond what was before.

Held-out R and D (nats, beta = 1, z ~ q) of all models come from rdsweep's evaluation on the same
split with the same noise; for the others it happens after the timed part.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch

from cases import Case, case_of, grid, tiny
from competitors import OTHERS, CompetitorError, Run, run_others, run_ours
from flops import measure_limits
from loops import Job
from sweeps.devices import physical_cores
from tables import Measured, heading, print_outcomes, print_rows

CASES = ("mlp", "conv28", "conv64")
LOOPS = ("hand", "hand_tensors", "pythae", "lone", "ours", "ours_float32", "shared", "ours_full")
DEFAULTS = {"trials": 16, "repeats": 3}
TINY = {"trials": 2, "repeats": 1}


def run_once(name: str, case: Case, options: argparse.Namespace) -> Run:
    """One loop over one case, in a folder and with a database of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        job = Job(
            case=case,
            settings=tuple(grid(options.trials)),
            url=f"sqlite:///{folder}/bench.db",
            device=options.device,
            threads=options.threads,
            tensors=False,
            loader_workers=options.loader_workers,
            folder=Path(folder),
        )
        if name in OTHERS:
            return run_others(name, job, options.processes)
        return run_ours(name, job, options.shared if name == "shared" else 0)


def measure(case: Case, options: argparse.Namespace) -> Measured:
    """All loops in turn, several times: what slows the machine down for a while meets all of them."""
    limits = measure_limits(options.device, small=options.tiny)
    runs: dict[str, list[Run]] = defaultdict(list)
    failures: dict[str, str] = {}
    for turn in range(options.repeats):
        for name in options.only:
            if name in failures:
                continue
            try:
                run = run_once(name, case, options)
            except CompetitorError as error:
                failures[name] = str(error)
                say(f"{case.name} {name}: {error}")
                continue
            runs[name].append(run)
            say(f"{case.name} {name} {turn + 1}/{options.repeats}: {run.seconds:.1f} s")
    return Measured(
        case=case,
        settings=tuple(grid(options.trials)),
        limits=limits.or_better(measure_limits(options.device, small=options.tiny)),
        runs=dict(runs),
        failures=failures,
    )


def measure_packs(case_name: str, options: argparse.Namespace) -> int:
    """Runs pack_sizes.py, which prints its table itself; returns its exit status."""
    program = Path(__file__).with_name("pack_sizes.py")
    command = [sys.executable, str(program), "--case", case_name, "--device", options.device]
    command += ["--mnist", str(options.mnist), "--repeats", str(options.repeats)]
    command += ["--plots", str(options.plots)]
    command += ["--sizes", *map(str, options.sizes)] if options.sizes else []
    command += ["--tiny"] if options.tiny else []
    return subprocess.run(command, check=False).returncode


def parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--case", nargs="+", choices=CASES, default=CASES)
    add("--only", nargs="+", choices=[*LOOPS, "packs"], help="these rows (default: all)")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--mnist", type=Path, default=Path("data"), help="where torchvision's MNIST lies")
    add("--trials", type=int, help="16")
    add("--epochs", type=int, help="mlp: 10, conv28: 3, conv64: 1")
    add("--repeats", type=int, help="how often each loop runs, of which the median counts: 3")
    add("--tiny", action="store_true", help="a few small images, 2 trials, once")
    add("--processes", type=int, help="of the others' loops: one per core, or one on a GPU")
    add("--threads", type=int, default=1, help="of each of these processes; 0: as torch likes")
    add("--loader-workers", type=int, default=1, help="of `hand` on a GPU")
    add("--shared", type=int, default=4, help="workers that share the GPU in `shared`")
    add("--sizes", type=int, nargs="+", help="of packs (default on a GPU: 1 to 128; CPU: 1 to 8)")
    add("--plots", type=Path, default=Path(__file__).parent, help="where pictures go")
    return filled_in(parser.parse_args(words))


def filled_in(options: argparse.Namespace) -> argparse.Namespace:
    """The options with defaults that depend on others."""
    on_gpu = options.device == "cuda"
    for name, value in (TINY if options.tiny else DEFAULTS).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    wanted = options.only or [*LOOPS, "packs"]
    options.packs = "packs" in wanted
    options.only = [name for name in LOOPS if name in wanted and (on_gpu or name != "shared")]
    options.processes = options.processes or (1 if on_gpu else physical_cores())
    options.mnist = options.mnist.absolute()
    return options


def chosen_case(name: str, options: argparse.Namespace) -> Case:
    case = case_of(name, options.mnist)
    case = tiny(case) if options.tiny else case
    return case.lasting(options.epochs) if options.epochs else case


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def shown_command(words: Sequence[str]) -> str:
    """The command line for the heading, without the directories of this machine."""
    hidden = ["DIRECTORY" if before in ("--mnist", "--plots") else word
              for before, word in zip(["", *words], words, strict=False)]  # fmt: skip
    return shlex.join(["python", "benchmarks/training.py", *hidden])


def main() -> int:
    options = parsed(sys.argv[1:])
    if options.device == "cuda" and not torch.cuda.is_available():
        say("A GPU must be there for --device cuda, but torch sees none.")
        return 2
    print(heading(shown_command(sys.argv[1:]), options.device), flush=True)
    failed = False
    for name in options.case:
        if options.only:
            measured = measure(chosen_case(name, options), options)
            print_rows(measured, options.device)
            print_outcomes(measured)
            failed |= bool(measured.failures)
        if options.packs:
            failed |= bool(measure_packs(name, options))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
