"""How many workers, where, with how many threads."""

import os

import pytest
import torch

from sweeps.devices import physical_cores, placements
from sweeps.errors import SweepError

ON_CPU = pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is meant")


@ON_CPU
def test_without_a_gpu_each_physical_core_gets_a_worker_of_one_thread() -> None:
    seats = placements("auto", workers=0, threads=0)
    assert len(seats) == physical_cores()
    assert {(seat.device, seat.threads) for seat in seats} == {("cpu", 1)}


def test_fewer_workers_share_the_cores_and_threads_can_be_said() -> None:
    assert placements("cpu", workers=1, threads=0)[0].threads == physical_cores()
    assert {seat.threads for seat in placements("cpu", workers=5, threads=3)} == {3}
    assert {seat.threads for seat in placements("cpu", workers=99, threads=0)} == {1}


def test_cores_are_those_that_the_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert physical_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_each_gpu_gets_a_worker() -> None:
    seats = placements("auto", workers=0, threads=0)
    assert [seat.device for seat in seats] == [
        f"cuda:{index}" for index in range(torch.cuda.device_count())
    ]


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SweepError, match=r"must be one of auto, cpu.*but got 'cuda:97'"):
        placements("cuda:97", workers=1, threads=1)
