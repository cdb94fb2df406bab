"""Fixtures of the tests that run real sweeps."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from made_once import made_once
from rdsweep_command import PATIENCE_SECONDS, Rdsweep

pytest.register_assert_rewrite("launcher_contract")


@pytest.fixture(autouse=True)
def _optunas_connections() -> Iterator[None]:
    """None of them stays open for the garbage collector."""
    yield
    if "optuna_memory" in sys.modules:
        sys.modules["optuna_memory"].close_all()


@pytest.fixture
def rdsweep(tmp_path: Path) -> Iterator[Rdsweep]:
    runner = Rdsweep(tmp_path)
    yield runner
    for process in runner.started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Rdsweep:
    """A finished sweep of 8 trials by 2 workers with its report, for tests that only read."""

    def make(folder: Path) -> None:
        runner = Rdsweep(folder)
        runner("run", str(runner.write_spec()))

    return Rdsweep(made_once(tmp_path_factory, "finished", make))


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds, but not for ever."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < end, f"it did not come true in {PATIENCE_SECONDS:g} s"
            time.sleep(0.05)

    return wait
