"""What Ray's exceptions mean to the user of a sweep, in one line each."""

import re
from collections.abc import Iterator

from ray.exceptions import RayActorError, RayError, RayTaskError

from sweeps.errors import SweepError

__all__ = ["NoCluster", "actor_end_in_words", "why_refused"]

_DEAD_BECAUSE = re.compile(r"The actor (?:is dead|died) because (.+?)(?:\.\s|\.?$)", re.MULTILINE)


class NoCluster(SweepError):  # noqa: N818 - what is the case, as the others are named
    """There is no cluster that would outlive the process that asks for workers."""

    def __str__(self) -> str:
        return (
            "Workers with --detach need a Ray cluster that stays, but none is at hand; start one "
            "with `ray start --head`, or give its run.ray_address."
        )


def why_refused(error: BaseException, address: str) -> str:
    """Why a cluster cannot be used, and what to do.

    Args:
        error: what `ray.init` raised.
        address: what it was asked for; empty for the cluster at hand, else one of our own.
    """
    said = _one_line(error)
    place = f"at {address}" if address else "at hand"
    if isinstance(error, NoCluster):
        return said
    if address == "local":
        return f"A Ray cluster must start on this machine, but: {said}"
    if any("AuthenticationError" in f"{type(one)} {one}" for one in _chain(error)):
        return (
            f"The Ray cluster {place} wants its token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN or the file ~/.ray/auth_token as on its head."
        )
    if said.startswith("Version mismatch: "):
        return (
            f"The nodes of the Ray cluster {place} must run the Ray and the Python of this "
            f"process, but: {said.removeprefix('Version mismatch: ')}"
        )
    if isinstance(error, OSError):
        return (
            f"No Ray cluster answers {place} ({said}); start one with `ray start --head`, or "
            'say run.ray_address = "local" for one of this run\'s own.'
        )
    return f"The Ray cluster {place} must take this process in, but: {said}"


def actor_end_in_words(error: RayError) -> str:
    """Why a worker's actor ended, or never started.

    Args:
        error: what waiting for it raised.
    """
    if isinstance(error, RayTaskError):
        return str(error).strip().splitlines()[-1]
    said = str(error)
    if not isinstance(error, RayActorError):
        return _one_line(error)
    because = _DEAD_BECAUSE.search(said)
    return because.group(1).strip() if because else _one_line(error)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
