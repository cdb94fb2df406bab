"""When a worker is to leave, and what it says about it."""

import os
import signal
from collections.abc import Iterator

import pytest

from sweeps.stopping import StopRequest

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[StopRequest]:
    """A request that hears this process's signals."""
    monkeypatch.setattr("sweeps.stopping.lose_patience", lambda: None)
    before = {number: signal.getsignal(number) for number in HANDLED}
    stop = StopRequest()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nobody_leaves_unasked() -> None:
    stop = StopRequest()
    assert (stop.requested, stop.draining, stop.drained, stop.reason) == (
        False,
        False,
        False,
        None,
    )
    assert stop.seconds_left is None
    assert stop.seconds_in_all is None


@pytest.mark.parametrize("number", HANDLED, ids=lambda number: number.name)
def test_a_signal_ends_the_epoch(listening: StopRequest, number: signal.Signals) -> None:
    signal.raise_signal(number)
    assert listening.requested
    assert listening.draining
    assert not listening.drained
    assert listening.reason == f"asked to stop ({number.name})"


def test_a_signal_also_ends_the_wait_for_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = []
    monkeypatch.setattr("sweeps.stopping.lose_patience", lambda: lost.append(True))
    before = signal.getsignal(signal.SIGTERM)
    try:
        StopRequest().install()
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert lost == [True]


def test_a_second_ctrl_c_ends_everything_at_once_and_a_second_sigterm_does_not(
    listening: StopRequest,
) -> None:
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert listening.requested


def test_an_order_to_drain_lets_the_trial_be_finished() -> None:
    stop = StopRequest()
    stop.order("drain")
    assert (stop.requested, stop.draining, stop.drained) == (False, True, True)
    assert stop.reason == "ordered to drain"


def test_an_order_to_stop_now_ends_the_epoch_and_an_order_can_be_taken_back() -> None:
    stop = StopRequest()
    stop.order("now")
    assert (stop.requested, stop.draining, stop.drained) == (True, True, False)
    assert stop.reason == "ordered to stop now"
    stop.order(None)
    assert not stop.draining
    assert stop.reason is None


@pytest.mark.parametrize(
    ("limit", "grace", "at"),
    [(3600.0, 120.0, 3480.0), (100.0, 120.0, 90.0), (1200.0, 120.0, 1080.0), (60.0, 1.0, 59.0)],
)
def test_it_leaves_within_the_grace_before_its_time_limit_or_within_a_tenth_of_it(
    monkeypatch: pytest.MonkeyPatch, limit: float, grace: float, at: float
) -> None:
    now = 1000.0
    monkeypatch.setattr("sweeps.stopping.time.monotonic", lambda: now)
    stop = StopRequest(time_limit=limit, grace=grace)
    assert stop.seconds_in_all == at
    now += at - 0.5
    assert stop.seconds_left == pytest.approx(0.5)
    assert not stop.requested
    now += 0.5
    assert stop.seconds_left == 0.0
    assert stop.reason == "its time limit is near"
    now += 1e6
    assert stop.seconds_left == 0.0


def test_it_leaves_when_its_parent_is_gone() -> None:
    assert not StopRequest(os.getppid()).requested
    orphan = StopRequest(os.getppid() + 1)
    assert orphan.reason == "the process that started the worker is gone"
