"""The processes of a Slurm cluster for tests: found by its folder, ended with whoever started it.

Run as a program with the folder, it waits for the end of its standard input, which comes with the
end of the process that holds the other side, however that dies; then it ends the cluster.
"""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")


def guard(folder: Path) -> subprocess.Popen[bytes]:
    """Starts the guardian of a cluster; closing its standard input lets it end the cluster."""
    return subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end_cluster(folder: Path) -> None:
    """Kills the daemons of a cluster and all that its jobs run, and removes its folder."""
    for processes in (_daemons(folder), job_processes(folder)):
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=2)  # zombies of others may stay longer
    shutil.rmtree(folder, ignore_errors=True)


def job_processes(folder: Path, node: str = "") -> list[psutil.Process]:
    """The processes of jobs and of Slurm on their behalf, of one node or of all.

    Slurm gives each of them the place of its configuration. So does the test that points its own
    commands at the cluster, but no number of a job.
    """
    found = []
    for process in psutil.process_iter(["name"]):
        environment = _environment(process)
        of_a_job = any(word.startswith("SLURM_JOB_ID=") for word in environment)
        if f"SLURM_CONF={folder}/slurm.conf" in environment and (
            of_a_job or process.info["name"] == "slurmstepd"
        ):
            found.append(process)
    return [process for process in found if not node or _runs_on(process, folder, node)]


def _daemons(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] in DAEMONS and str(folder) in " ".join(process.info["cmdline"])
    ]


def _runs_on(process: psutil.Process, folder: Path, node: str) -> bool:
    if f"SLURMD_NODENAME={node}" in _environment(process):
        return True
    try:  # Slurm's own, `slurmstepd`, listens in the folder of its node
        sockets = process.net_connections("unix")
    except psutil.Error:
        return False
    return any(f"{folder}/spool-{node}" in str(one.laddr) for one in sockets)


def _environment(process: psutil.Process) -> set[str]:
    """As the kernel shows it; psutil stops at an empty entry, which `slurmstepd` begins with."""
    try:
        content = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return set()
    return set(content.decode(errors="replace").split("\0"))


if __name__ == "__main__":
    sys.stdin.read()
    end_cluster(Path(sys.argv[1]))
