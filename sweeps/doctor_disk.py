"""Whether the disks have room, and whether SQLite can work on them."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from sweeps.findings import Finding, all_fine, note, problem

__all__ = ["Mount", "check_disk", "is_network", "mount_of", "mounts"]

_GIB = 2**30
_LEAST_BYTES, _FEW_BYTES = 1 * _GIB, 5 * _GIB
_LEAST_FILES, _FEW_FILES = 1_000, 10_000

_NETWORK = frozenset(
    {
        "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs",
        "lustre", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb",
        "smb2", "smb3", "smbfs", "weka", "wekafs",
    }
)  # fmt: skip
_NETWORK_FUSE = (
    "fuse.ceph",
    "fuse.davfs",
    "fuse.gcsfuse",
    "fuse.gluster",
    "fuse.juicefs",
    "fuse.mountpoint-s3",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
)


class Mount(NamedTuple):
    """Where a file system is mounted, and its type, as "ext4"."""

    place: str
    kind: str


def mounts() -> list[Mount]:
    """The file systems of this machine."""
    return [Mount(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]


def mount_of(path: Path, among: Iterable[Mount]) -> Mount | None:
    """The file system that a path is on: the one mounted nearest above it, the last one there."""
    above = {path.resolve(), *path.resolve().parents}
    found = [mount for mount in among if Path(mount.place) in above]
    best: Mount | None = None
    for mount in found:
        if best is None or len(Path(mount.place).parts) >= len(Path(best.place).parts):
            best = mount
    return best


def is_network(mount: Mount) -> bool:
    """Whether other machines can have the same files open: there is no shared memory for WAL."""
    kind = mount.kind.lower()
    return kind in _NETWORK or kind.startswith(_NETWORK_FUSE)


def check_disk(check: str, directory: Path, purpose: str) -> Iterator[Finding]:
    """Yields how much room there is for something on the disk of a directory.

    Args:
        check: The check's name.
        directory: It exists.
        purpose: What is kept there, as "the database".
    """
    free = shutil.disk_usage(directory).free
    where = f"the disk of {directory}"
    says = f"{where} has {free / _GIB:.1f} GiB free for {purpose}"
    remedy = "free some space, or move it to a larger disk"
    files = _free_files(directory)
    if free < _LEAST_BYTES:
        yield problem(check, f"{says}: less than 1 GiB", remedy)
    elif files is not None and files < _LEAST_FILES:
        yield problem(check, f"{where} has room for {files} more files only (inodes)", remedy)
    elif free < _FEW_BYTES:
        yield note(check, f"{says}: less than 5 GiB", remedy)
    elif files is not None and files < _FEW_FILES:
        yield note(check, f"{where} has room for {files} more files only (inodes)", remedy)
    else:
        yield all_fine(check, says)


def _free_files(directory: Path) -> int | None:
    """How many files fit on it; None where the file system knows no such limit."""
    if not hasattr(os, "statvfs"):
        return None
    status = os.statvfs(directory)
    return status.f_favail if status.f_files else None
