"""Workers as Slurm jobs: submitted as arrays, watched through the queue, requeued by themselves."""

import importlib.util
import logging
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import ClassVar, final

from sweeps.devices import Placement
from sweeps.errors import SweepError
from sweeps.launcher import MAX_RESTARTS, Launcher, LauncherKind, WorkerEnd, WorkerPlan
from sweeps.slurm_job import SlurmJob
from sweeps.slurm_queue import cancel, job_states, run_slurm, terminate
from sweeps.slurm_seat import Seat
from sweeps.slurm_submission import device_of, problem, submit, threads_of
from sweeps.worker_process import worker_command, worker_words

__all__ = ["SlurmLauncher"]

_log = logging.getLogger(__name__)

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun")
LOOK_SECONDS = 2.0
"""So long an answer of the controller is good enough: it serves a whole cluster."""

POLL_SECONDS = 0.2
KILL_SECONDS = 30.0


@final
class SlurmLauncher(Launcher):
    """Runs each worker in a Slurm job.

    Jobs outlive the process that submitted them, and a worker that must go (its time limit is
    near, it is preempted, its node fails) comes back with its job, without a launcher. Jobs that
    end otherwise before the work does are submitted again here, within a limit.

    Args:
        plan: what each worker is to be; its `logs` must be a directory that all nodes see.
    """

    kind: ClassVar[LauncherKind] = "slurm"
    spans_machines: ClassVar[bool] = True

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._seats: list[Seat] = []
        self._looked = float("-inf")
        self._stopping = False
        self._ended_well = False

    def check(self) -> None:
        """Passes if Slurm takes jobs.

        Raises:
            SweepError: submitit or Slurm is missing, or the plan is none that Slurm can follow.
        """
        if importlib.util.find_spec("submitit") is None:
            message = "The launcher slurm needs submitit: pip install 'rdsweep[slurm]'."
            raise SweepError(message)
        missing = [name for name in COMMANDS if shutil.which(name) is None]
        if missing:
            message = (
                f"The launcher slurm needs Slurm's commands on the PATH, but {missing[0]!r} is "
                "not there; start the sweep on a machine from which jobs are submitted."
            )
            raise SweepError(message)
        unfit = problem(self._plan)
        if unfit is not None:
            raise SweepError(unfit)
        try:
            run_slurm(["scontrol", "ping"])
        except SweepError as error:
            message = "Slurm's controller must answer (`scontrol ping`), but it does not."
            raise SweepError(message) from error

    def scale(self, workers: int) -> list[str]:
        """Submits jobs, or marks the newest for leaving; ids of the workers that are to drain.

        Raises:
            SweepError: Slurm refuses the jobs.
        """
        kept = [seat for seat in self._seats if not seat.surplus]
        if workers >= len(kept):
            self._seats += self._submitted([0] * (workers - len(kept)))
            return []
        self._look_if_possible()
        surplus = sorted(kept, key=lambda seat: seat.waits)[workers:]  # who waits loses nothing
        for seat in surplus:
            seat.surplus = True
        self._cancel_waiting()
        return [seat.worker_id for seat in surplus if seat.taken and not seat.waits]

    def ends(self) -> list[WorkerEnd]:
        """The workers that ended before their work since the last call.

        One that left in order, to come back with its job, is none of them.

        Raises:
            SweepError: Slurm does not answer.
        """
        self._look()
        settled = [seat for seat in self._seats if seat.is_settled]
        found = [end for seat in settled for end in seat.lost_workers()]
        over = [seat for seat in settled if not seat.taken]
        failed = [seat for seat in over if not self._went_well(seat)]
        again = self._submitted_again([seat for seat in failed if self._may_return(seat)])
        for seat in failed:
            end = WorkerEnd(worker_id=seat.worker_id, reason=seat.reason, restarted=seat in again)
            found.append(end)
        self._seats = [seat for seat in self._seats if seat not in over]
        _cancel_if_possible(seat for seat in over if seat.is_stuck)
        self._cancel_waiting()
        return found

    @property
    def running(self) -> int:
        """How many workers are alive or waiting for a machine.

        Raises:
            SweepError: Slurm does not answer.
        """
        self._look()
        return sum(seat.taken for seat in self._seats)

    @property
    def ended_well(self) -> bool:
        """Whether a worker found nothing left to do."""
        return self._ended_well

    def forgive(self) -> None:
        """Counts restarts anew: the sweep has got on since the last end."""
        for seat in self._seats:
            seat.restarts = 0

    def stop(self) -> None:
        """Asks every worker to leave at its next epoch, and cancels the jobs that wait.

        SIGTERM means not to come back; a job that it reaches too early is over all the same.
        """
        self._stopping = True
        self._look_if_possible()
        self._cancel_waiting()
        terminate([seat.job_id for seat in self._seats if seat.taken])

    def kill(self) -> list[str]:
        """Ends every job at once; returns the ids of the workers that were alive.

        Raises:
            SweepError: Slurm does not answer.
        """
        self._stopping = True
        self._look(at_once=True)
        alive = [seat for seat in self._seats if seat.taken]
        ids = [seat.job_id for seat in alive]
        cancel(ids, at_once=True)
        end = time.monotonic() + KILL_SECONDS
        while any(state.alive for state in job_states(ids).values()) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        self._seats = []
        return [seat.worker_id for seat in alive if not seat.waits]

    @cached_property
    def _command(self) -> tuple[str, ...]:
        """What starts a worker on its node."""
        placement = Placement(device=device_of(self._plan), threads=threads_of(self._plan))
        return tuple(worker_command(worker_words(self._plan, placement)))

    def _submitted(self, restarts: Sequence[int]) -> list[Seat]:
        """New seats, each for a job that takes the place of so many that failed before it."""
        if not restarts:
            return []
        logs = self._plan.logs.absolute()
        logs.mkdir(parents=True, exist_ok=True)
        jobs = [
            SlurmJob(
                study=self._plan.study,
                command=self._command,
                threads=threads_of(self._plan),
                minutes=self._plan.time_limit_minutes or None,
                token=uuid.uuid4().hex[:12],
                logs=logs,
            )
            for _ in restarts
        ]
        return [
            Seat(job=sent, token=job.token, logs=logs, restarts=count)
            for sent, job, count in zip(submit(self._plan, jobs), jobs, restarts, strict=True)
        ]

    def _submitted_again(self, seats: list[Seat]) -> list[Seat]:
        """Those of the seats for which another job could be submitted."""
        try:
            self._seats += self._submitted([seat.restarts + 1 for seat in seats])
        except SweepError as error:
            _log.warning("%s", error)
            return []
        return seats

    def _look(self, *, at_once: bool = False) -> None:
        """Asks the controller how the jobs are, unless it was asked just now."""
        if not at_once and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        states = job_states([seat.job_id for seat in self._seats])
        self._looked = time.monotonic()
        for seat in self._seats:
            seat.hear(states.get(seat.job_id))

    def _look_if_possible(self) -> None:
        """The same, now; if the controller does not answer, its last answer has to do."""
        try:
            self._look(at_once=True)
        except SweepError as error:
            _log.warning("%s", error)

    def _went_well(self, seat: Seat) -> bool:
        """Whether a job ended because nothing was left to do, or was meant to end."""
        if seat.found_no_work:
            self._ended_well |= not seat.surplus
            return True
        return (self._stopping or seat.surplus) and seat.was_dismissed

    def _may_return(self, seat: Seat) -> bool:
        """Whether another job is to take the place of one that failed."""
        unwanted = self._stopping or seat.surplus or seat.was_dismissed
        return not unwanted and seat.restarts < MAX_RESTARTS

    def _cancel_waiting(self) -> None:
        """Cancels the jobs that wait for a machine and are no longer wanted."""
        unwanted = [s for s in self._seats if s.waits and (s.surplus or self._stopping)]
        if _cancel_if_possible(unwanted):
            self._seats = [seat for seat in self._seats if seat not in unwanted]


def _cancel_if_possible(seats: Iterable[Seat]) -> bool:
    try:
        cancel([seat.job_id for seat in seats])
    except SweepError as error:
        _log.warning("%s", error)
        return False
    return True
