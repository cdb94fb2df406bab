"""Verdicts on posterior collapse, as a table of cases."""

import pytest

from vae_models.collapse import Verdict, verdict_of


@pytest.mark.parametrize(
    ("active", "last_active", "verdict", "epoch", "inactive"),
    [
        ([True, True], (20, 20), "none", None, ()),
        ([True], (20,), "none", None, ()),
        ([True, False], (20, 7), "partial", None, (1,)),
        ([False, True, False], (0, 20, 20), "partial", None, (0, 2)),
        ([True, False], (0, 0), "partial", None, (1,)),
        ([False, False], (3, 7), "collapsed", 8, (0, 1)),
        ([False, False], (0, 1), "collapsed", 2, (0, 1)),
        ([False], (19,), "collapsed", 20, (0,)),
        ([False, False], (20, 5), "collapsed", 20, (0, 1)),
        ([False, False], (0, 0), "never_active", None, (0, 1)),
        ([False], (0,), "never_active", None, (0,)),
        ([False, False], (), "collapsed", None, (0, 1)),
    ],
)
def test_a_verdict_follows_from_activity_at_the_end_and_in_20_epochs_of_training(
    active: list[bool],
    last_active: tuple[int, ...],
    verdict: Verdict,
    epoch: int | None,
    inactive: tuple[int, ...],
) -> None:
    found = verdict_of(active, last_active, epochs=20)
    assert (found.verdict, found.epoch, found.inactive) == (verdict, epoch, inactive)
