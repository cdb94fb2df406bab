"""A real Ray cluster on this machine: a head and further nodes, each of which can fail by itself.

Nothing outside its folder is touched, and no other Ray on the machine is seen: the folder, the
ports and the token are its own.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sweeps.fate_sharing import share_fate_of_parent

START_SECONDS = 120.0
OBJECT_STORE_BYTES = 80_000_000
MARK = "RAY_TMPDIR"
QUICK = {
    # as they are, a silent node is given half a minute, and workers run at the lowest priority
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}


@dataclass
class RayCluster:
    """A running cluster.

    Attributes:
        folder: what Ray writes; its path is short, as sockets are in it.
        port: of the head.
        token: without which nobody may connect.
        nodes: what runs each node, by its name.
    """

    folder: Path
    port: int
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """What `run.ray_address` names."""
        return f"127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of a process that is to reach this cluster."""
        return {
            MARK: str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",
        }

    def start(self, *resources: str) -> None:
        """Starts the head.

        Args:
            resources: as `ray start` takes them, "--num-cpus=2".
        """
        self._start(
            "head",
            ["--head", f"--port={self.port}", "--include-dashboard=false"],
            [*resources, f"--system-config={json.dumps(QUICK)}"],
        )

    def add_node(self, name: str, *resources: str, python: str = sys.executable) -> None:
        """Starts a further node.

        Args:
            name: for `fail_node`.
            resources: as `ray start` takes them, "--num-cpus=2".
            python: with whose packages it runs.
        """
        self._start(name, [f"--address={self.address}"], resources, python)

    def raylet(self, name: str) -> int:
        """The process id of a node's raylet, which its workers know as `RAY_RAYLET_PID`."""
        children = psutil.Process(self.nodes[name].pid).children(recursive=True)
        (raylet,) = [one.pid for one in children if one.name() == "raylet"]
        return raylet

    def fail_node(self, name: str) -> None:
        """Kills a node's raylet; what it ran has to end without it."""
        os.kill(self.raylet(name), signal.SIGKILL)
        self.nodes.pop(name).wait(timeout=60)

    def processes(self) -> list[psutil.Process]:
        """All processes of the cluster, and what was started by them."""
        mine = f"{MARK}={self.folder}"
        return [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and mine in environment(process.pid)
        ]

    def stop(self) -> None:
        """Ends everything; nothing of it stays behind."""
        left = [*self.processes()]
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        for node in self.nodes.values():
            node.wait(timeout=60)
        psutil.wait_procs(left, timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(
        self,
        name: str,
        role: Sequence[str],
        resources: Sequence[str],
        python: str = sys.executable,
    ) -> None:
        output = self.folder / f"{name}.out"
        command = [python, "-m", "ray.scripts.scripts", "start", *role, *resources, "--block"]
        common = [f"--object-store-memory={OBJECT_STORE_BYTES}", "--node-ip-address=127.0.0.1"]
        with output.open("wb") as stream:
            self.nodes[name] = subprocess.Popen(
                [*command, *common, "--include-log-monitor=false", "--disable-usage-stats"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=share_fate_of_parent,  # Ray's own reaper then ends the rest
                cwd=self.folder,
                env={**os.environ, **self.settings},
            )
        self._wait(name, lambda: "Ray runtime started" in output.read_text(errors="replace"))

    def _wait(self, name: str, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not holds():
            said = (self.folder / f"{name}.out").read_text(errors="replace")
            assert self.nodes[name].poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)


def environment(pid: int) -> set[str]:
    """The settings with which a process was started, as "NAME=VALUE"."""
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return set()
    return set(content.decode(errors="replace").split("\0"))


@contextmanager
def ray_cluster(*resources: str) -> Iterator[RayCluster]:
    """A cluster from the start of its head, with those resources, to its end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    cluster = RayCluster(Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp")), port)
    try:
        cluster.start(*resources)
        yield cluster
    finally:
        cluster.stop()
