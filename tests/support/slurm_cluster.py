"""A real Slurm on this machine: munge, one controller and two nodes, in a folder of their own.

It needs Debian's `slurm-wlm` and `munge`, but no systemd, no cgroups and no accounting database,
and touches nothing outside its folder. Both nodes are this machine under different names and
ports, so that one of them can fail while the other goes on.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from slurm_processes import end_cluster, guard, job_processes

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
DAEMON_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where Debian puts the daemons
START_SECONDS = 30.0

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# a job that was requeued waits as long as its old credential lives: 5 s is the least
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
GresTypes=gpu
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdTimeout=5
KillWait=10
DefMemPerCPU=1000
ReturnToService=2
MailProg=/bin/true
NodeName=alpha NodeHostname={host} NodeAddr=127.0.0.1 Port={alpha_port} CPUs=4 RealMemory=64000 Gres=gpu:2
NodeName=beta NodeHostname={host} NodeAddr=127.0.0.1 Port={beta_port} CPUs=4 RealMemory=64000
PartitionName=main Nodes=ALL Default=YES LLN=YES PriorityTier=1 PreemptMode=OFF
PartitionName=low Nodes=beta PriorityTier=1 GraceTime=60 PreemptMode=REQUEUE
PartitionName=high Nodes=beta PriorityTier=9 PreemptMode=OFF
"""
"""CPUs, memory and GPUs are made up, so that several jobs run on a small machine."""


def why_not() -> str | None:
    """Why no cluster can be started here; None if it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=DAEMON_PATH) is None]
    if missing:
        return f"Slurm is not installed (no {', '.join(missing)}; see .ci/install-slurm)"
    return None if os.geteuid() == 0 else "only root starts Slurm's daemons"


@dataclass
class SlurmCluster:
    """A running cluster.

    Attributes:
        folder: its configuration, state and logs.
    """

    folder: Path
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _old: set[str] = field(default_factory=set)

    NODES = ("alpha", "beta")

    @property
    def configuration(self) -> Path:
        """What `SLURM_CONF` names for every command that is to reach this cluster."""
        return self.folder / "slurm.conf"

    def start(self) -> None:
        """Starts everything; returns when both nodes take jobs."""
        self._configure()
        self._daemon("munged", *self._munge_arguments())
        self._wait("munge's socket", (self.folder / "munge.socket").is_socket)
        self._daemon("slurmctld", "slurmctld", "-D", "-f", str(self.configuration))
        for node in self.NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def start_node(self, node: str) -> None:
        """Starts a node's daemon."""
        self._daemon(node, "slurmd", "-D", "-N", node, "-f", str(self.configuration))

    def wait_for_nodes(self) -> None:
        """Returns when every node takes jobs."""
        self._wait("the nodes", self._are_usable)

    def fail_node(self, node: str) -> None:
        """What a power cut does: the daemon and every process of its jobs are killed at once."""
        daemon = self._daemons.pop(node)
        victims = job_processes(self.folder, node)
        daemon.kill()
        for process in victims:
            with suppress(psutil.Error):
                process.kill()
        daemon.wait()
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=failed")

    def repair(self) -> None:
        """Brings failed and drained nodes back."""
        for node in self.NODES:
            if node not in self._daemons:
                self.start_node(node)
            # fails for a node that is sound
            self._run("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait_for_nodes()

    def command(self, *words: str) -> str:
        """Runs a command on the cluster and returns what it wrote."""
        done = self._run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command that is to reach this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.configuration)}

    def cancel_all(self) -> None:
        """Ends every job at once and waits until none is left."""
        user = getpass.getuser()
        self.command("scancel", "--signal=KILL", "--full", "--quiet", "--user", user)
        self.command("scancel", "--quiet", "--user", user)
        self._wait("the end of all jobs", lambda: not self.command("squeue", "--noheader"))
        self._old = set(self._jobs())

    def states(self) -> list[str]:
        """State and number of requeues of each job since `cancel_all`, ended ones too."""
        return [state for job, state in self._jobs().items() if job not in self._old]

    def stop(self) -> None:
        """Ends all jobs and daemons; nothing of them stays behind."""
        end_cluster(self.folder)
        for daemon in self._daemons.values():
            daemon.wait(timeout=10)

    def _configure(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (self.folder / "state").mkdir()
        (self.folder / "gres.conf").write_text(
            "NodeName=alpha Name=gpu File=/dev/null,/dev/zero\n"
        )
        controller_port, alpha_port, beta_port = _free_ports(3)
        self.configuration.write_text(
            CONFIGURATION.format(
                folder=self.folder,
                host=socket.gethostname().split(".")[0],
                user=getpass.getuser(),
                controller_port=controller_port,
                alpha_port=alpha_port,
                beta_port=beta_port,
            )
        )

    def _munge_arguments(self) -> list[str]:
        place = self.folder
        return [
            "munged",
            "--foreground",
            f"--key-file={place}/munge.key",
            f"--socket={place}/munge.socket",
            f"--pid-file={place}/munged.pid",
            f"--log-file={place}/munged.log",
            f"--seed-file={place}/munge.seed",
        ]

    def _daemon(self, name: str, program: str, *arguments: str) -> None:
        found = shutil.which(program, path=DAEMON_PATH)
        assert found is not None, f"{program} must be installed"
        self._daemons[name] = subprocess.Popen(
            [found, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=self.environment,
        )

    def nodes(self) -> dict[str, str]:
        """The node on which each job runs."""
        shown = self.command(
            "squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i %N"
        )
        return dict(line.split() for line in shown.splitlines())

    def _jobs(self) -> dict[str, str]:
        """Every job that the controller remembers."""
        columns = "--Format=JobArrayID:30,State:30,RestartCnt:10"
        shown = self.command("squeue", "--noheader", "--array", "--states=all", columns)
        words = [line.split() for line in shown.splitlines()]
        return {job: f"{state} {requeues}" for job, state, requeues in words}

    def _are_usable(self) -> bool:
        done = self._run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T")
        states = done.stdout.split()
        return len(states) == len(self.NODES) and set(states) <= {"idle", "mixed", "allocated"}

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not holds():
            dead = [name for name, one in self._daemons.items() if one.poll() is not None]
            assert not dead, f"{dead} ended; see the logs in {self.folder}"
            assert time.monotonic() < end, f"{what} did not come within {START_SECONDS:.0f} s"
            time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on; all are held until the last one is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def slurm_cluster() -> Iterator[SlurmCluster]:
    """A cluster from its start to its end."""
    # not pytest's folder: munge wants one that everybody may enter, and sockets a short path
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    guardian = guard(folder)
    cluster = SlurmCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        guardian.communicate()
