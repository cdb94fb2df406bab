"""The verdict on posterior collapse: whether latents died, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

__all__ = ["Collapse", "Verdict", "verdict_of"]

Verdict = Literal["none", "partial", "collapsed", "never_active"]


@final
@dataclass(frozen=True, kw_only=True)
class Collapse:
    """What became of the latents.

    Attributes:
        verdict: ``none`` if all latents are active on held-out data, ``partial`` if some are;
            of no active one, ``never_active`` if none ever was in training, else ``collapsed``.
        epoch: Only for ``collapsed``: the first epoch, from 1, without any active latent.
    """

    verdict: Verdict
    epoch: int | None


def verdict_of(active: Sequence[bool], last_active_epochs: Sequence[int], epochs: int) -> Collapse:
    """The verdict on a finished training.

    Activity in training is measured over the batches of an epoch, on held-out data at the end: a
    model whose last active epoch is its last one, and that is inactive at the end, is dated to
    that epoch.

    Args:
        active: Of every latent, whether it is active on held-out data.
        last_active_epochs: Of every latent, the last epoch in which it was active in training, 0
            for none; empty if that is not known, and a collapse then has no date.
        epochs: Epochs trained.
    """
    if any(active):
        return Collapse(verdict="none" if all(active) else "partial", epoch=None)
    last = max(last_active_epochs, default=None)
    if last == 0:
        return Collapse(verdict="never_active", epoch=None)
    epoch = None if last is None else min(last + 1, epochs)
    return Collapse(verdict="collapsed", epoch=epoch)
