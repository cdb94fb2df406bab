"""How many trials a worker trains at a time: what the spec says, what was measured, or one."""

from typing import Any

import pytest

from studies.records import WorkerRecord
from sweeps.pack_choice import PackChoice, choose_pack

MINE = {"hardware": "H100", "threads": 4, "precision": "bfloat16", "torch": "2.15"}
STORED = {"size": 16, "timings": {"1": 0.1, "16": 0.4}}


def worker(device: str = "cuda:0", **versions: Any) -> WorkerRecord:
    return WorkerRecord(
        id="w",
        study="s",
        host="here",
        pid=1,
        process_started_at=0.0,
        device=device,
        versions={**MINE, **versions},
        started_at=0.0,
        seen_at=0.0,
        ended_at=None,
    )


def measured() -> PackChoice:
    return PackChoice(size=32, timings={"32": 0.5})


def never() -> PackChoice:
    pytest.fail("nothing was to be measured")


def test_what_the_spec_says_holds_everywhere() -> None:
    known = [worker(pack_timings=STORED)]
    assert choose_pack(5, "cuda:0", MINE, known, never).size == 5
    assert choose_pack(5, "cpu", MINE, known, never).size == 5


def test_on_the_cpu_one_trial_trains_at_a_time() -> None:
    assert choose_pack("auto", "cpu", MINE, [worker("cpu", pack_timings=STORED)], never).size == 1


def test_an_earlier_workers_measurement_holds_for_an_equal_one() -> None:
    known = [worker(pack_timings=STORED), worker()]
    found = choose_pack("auto", "cuda:1", MINE, known, never)
    assert found == PackChoice(size=16, timings={"1": 0.1, "16": 0.4})
    assert found.versions == {"pack": "packed", "slots": 16, "pack_timings": STORED}


@pytest.mark.parametrize(
    "other",
    [
        worker(),
        worker(pack_timings=STORED, hardware="A100"),
        worker(pack_timings=STORED, threads=8),
        worker(pack_timings=STORED, precision="float32"),
        worker("cpu", pack_timings=STORED),
    ],
)
def test_that_of_another_kind_of_worker_does_not(other: WorkerRecord) -> None:
    assert choose_pack("auto", "cuda:0", MINE, [other], measured) == measured()


def test_one_trial_is_no_pack() -> None:
    assert PackChoice(size=1).versions == {"pack": "lone", "slots": 1}
