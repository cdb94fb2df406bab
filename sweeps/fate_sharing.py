"""`python -m sweeps.fate_sharing …`: rdsweep, killed at once with the process that started it.

For where that process holds what this one uses, and something else may hand it out again: a GPU
of a Ray node, say. On Linux only; elsewhere a worker leaves by itself (`--parent-pid`).
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def share_fate_of_parent() -> None:
    """From now on the kernel kills this process with the thread that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    share_fate_of_parent()
    from sweeps.cli import main

    main()
