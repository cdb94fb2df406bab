"""Verdicts on posterior collapse, as a table of cases."""

import pytest

from vae_models.collapse import Verdict, verdict_of


@pytest.mark.parametrize(
    ("active", "last_active", "verdict", "epoch"),
    [
        ([True, True], (20, 20), "none", None),
        ([True], (20,), "none", None),
        ([True, False], (20, 7), "partial", None),
        ([False, True, False], (0, 20, 20), "partial", None),
        ([True, False], (0, 0), "partial", None),
        ([False, False], (3, 7), "collapsed", 8),
        ([False, False], (0, 1), "collapsed", 2),
        ([False], (19,), "collapsed", 20),
        ([False, False], (20, 5), "collapsed", 20),
        ([False, False], (0, 0), "never_active", None),
        ([False], (0,), "never_active", None),
        ([False, False], (), "collapsed", None),
    ],
)
def test_a_verdict_follows_from_activity_at_the_end_and_in_20_epochs_of_training(
    active: list[bool],
    last_active: tuple[int, ...],
    verdict: Verdict,
    epoch: int | None,
) -> None:
    found = verdict_of(active, last_active, epochs=20)
    assert (found.verdict, found.epoch) == (verdict, epoch)
