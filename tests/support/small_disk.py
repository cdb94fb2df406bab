"""A small disk of its own, mounted for a test that fills it."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, options: str) -> Iterator[Path]:
    """Mounts a disk in memory on a new directory; skips the test where that is not allowed.

    Args:
        directory: Where; it must not exist.
        options: As ``size=256k``, or ``ro``.
    """
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", os.fspath(directory)]
    try:
        subprocess.run(mount, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", os.fspath(directory)], check=True)


def fill(disk: Path, *, leaving: int = 0) -> Path:
    """Fills a disk up to its last byte, or until so many are left; returns the file that does it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        file.truncate(max(0, file.tell() - leaving))
    return filler
