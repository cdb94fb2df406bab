"""Every spec of `examples/` is valid and trains; every question has its page, and a page its pictures."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.database import open_database
from studies.queries import query_trials
from sweeps.space import Space
from sweeps.spec import Spec, load_spec
from sweeps.study_setup import prepare_study
from sweeps.worker import WorkerOptions, run_worker
from vae_models.data import load_data

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
MNIST = Path(os.environ.get("RDSWEEP_TEST_MNIST") or ROOT.parent / "shared/data/mnist10k")

SPECS = [pytest.param(path, id=path.stem) for path in sorted(EXAMPLES.glob("*.toml"))]
OFFLINE = [param for param in SPECS if param.id != "mnist"]
QUESTIONS = (
    "artworks",
    "sum-or-mean",
    "tutorial-784",
    "kl-drops-to-zero",
    "beta-norm",
    "which-sigma",
    "annealing-shapes",
)

SMALL = (
    "study.trials=2",
    "train.epochs=1",
    "evaluation.iwae_samples=2",
    "evaluation.diagnostic_examples=8",
)
LIMITS = ("data.train_limit=128", "data.heldout_limit=16")
SIZES = ("data.train_size=256", "data.heldout_size=16")
"""The same for data sets that are made, and not read."""


@pytest.fixture
def signals() -> Iterator[None]:
    """A worker listens to signals; after it pytest does again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def small(path: Path, *overrides: str) -> Spec:
    limits = SIZES if path.stem in ("gaussian", "sprites") else LIMITS
    return load_spec(path, [*SMALL, *limits, *overrides])


def train(spec: Spec, folder: Path) -> list[str]:
    """The states of the trials of a study that one worker trained to its end."""
    db = open_database(f"sqlite:///{folder / 'rdsweep.db'}")
    study = prepare_study(spec, db)
    run_worker(study.name, db, WorkerOptions())
    return [trial.state for trial in query_trials(db, study.name)]


def questions_without(wanted: str) -> list[str]:
    return [name for name in QUESTIONS if not (EXAMPLES / f"{name}{wanted}").exists()]


@pytest.mark.parametrize("path", SPECS)
def test_a_spec_is_valid_and_says_how_to_run_it(path: Path) -> None:
    assert load_spec(path).study.name == path.stem
    assert f"# rdsweep run examples/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", OFFLINE)
def test_a_grid_has_as_many_trials_as_points(path: Path) -> None:
    spec = load_spec(path)
    if spec.study.sampler == "grid":
        pixels = load_data(spec.data).pixels
        assert spec.study.trials == Space(spec, pixels).grid_size


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("path", OFFLINE)
def test_a_spec_trains_to_its_end(path: Path, tmp_path: Path) -> None:
    assert train(small(path), tmp_path) == ["complete", "complete"]


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("x", ["beta_norm", "regulariser"])
def test_columns_of_a_study_are_drawn_also_where_a_trial_has_none(x: str, tmp_path: Path) -> None:
    """One of the two trials has no β: it is left out of an axis of β, and not of one of names."""
    overrides = ['space.regulariser=["kl","wae_mmd"]', "space.beta=1.0", "data.spectrum=[2.0,1.0]"]
    assert train(small(EXAMPLES / "gaussian.toml", *overrides), tmp_path) == ["complete"] * 2
    out = tmp_path / "drawn.png"
    storage = f"sqlite:///{tmp_path / 'rdsweep.db'}"
    options = ["--storage", storage, "--x", x, "--by", "regulariser", "--out", str(out)]
    command = [sys.executable, str(EXAMPLES / "draw.py"), "gaussian", *options]
    subprocess.run(command, check=True, timeout=120)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.real_data
@pytest.mark.usefixtures("signals")
def test_the_sweep_over_mnist_trains_to_its_end(tmp_path: Path) -> None:
    if not (MNIST / "MNIST/raw").is_dir():
        pytest.skip(f"no MNIST/raw under {MNIST}; set RDSWEEP_TEST_MNIST to its root")
    spec = small(EXAMPLES / "mnist.toml", f"data.root={MNIST}")
    assert train(spec, tmp_path) == ["complete", "complete"]


def test_every_question_has_a_spec_and_a_page() -> None:
    assert (questions_without(".toml"), questions_without(".md")) == ([], [])


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_of_a_question_names_its_command_and_shows_a_picture(question: str) -> None:
    page = EXAMPLES / f"{question}.md"
    text = page.read_text(encoding="utf-8")
    assert f"rdsweep run examples/{question}.toml" in text
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures, "a page must show what it says"
    assert [name for name in pictures if not (EXAMPLES / name).is_file()] == []
