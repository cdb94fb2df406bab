"""One worker: takes trials from the queue, trains them, stores what they gave, until none is left.

The way of a trial: the desk (`sweeps.desk`) queued it, `take_trial` leases it, `Attempt.run` goes
through its epochs, measures it on held-out data and stores that; the desk tells Optuna. With
`dedupe`, a trial whose training has been done already takes over its results instead.
"""

import logging
import random
import socket
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import final

import psutil
import torch

from studies.attempt_lengths import longest_attempt_seconds
from studies.database import Database
from studies.errors import LeaseLost, RecordError, StudiesError
from studies.leases import release_trial, take_trial
from studies.queue import outlook
from studies.records import Lease, StudyRecord
from studies.study_records import get_study
from studies.workers import end_worker, register_worker
from sweeps.artifact_store import ArtifactStore, StoreError, open_store
from sweeps.attempt import Attempt
from sweeps.desk_process import DeskProcess
from sweeps.devices import check_device, placements
from sweeps.errors import SweepError
from sweeps.heartbeat import Heartbeat
from sweeps.launcher import LEFT_EARLY
from sweeps.reused_results import reuse_results
from sweeps.spec import Spec
from sweeps.stopping import StopRequest
from sweeps.study_data import study_data
from sweeps.versions import process_versions
from vae_models.data import DataSet

__all__ = ["WorkerOptions", "run_worker"]

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SAFETY = 1.5  # a trial may take so many times the longest so far


@final
@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker runs.

    Attributes:
        device: a torch device ("cpu", "cuda:0"), or "auto" for the first GPU, else the CPU.
        threads: CPU threads for torch; workers that share a machine share its cores.
        worker_id: the name under which it registers; made up where None.
        launcher_id: of the launcher that started it, if one did.
        parent_pid: leave when this process is gone; None stays whatever happens.
        time_limit: seconds until the process will be ended; None for no limit.
    """

    device: str = "cpu"
    threads: int = 1
    worker_id: str | None = None
    launcher_id: str | None = None
    parent_pid: int | None = None
    time_limit: float | None = None


def run_worker(study: str, db: Database, options: WorkerOptions) -> int:
    """Works on a study until all its trials are finished or it is to leave; returns its exit status.

    That is 0 where nothing is left to do, or after an order to drain, and `launcher.LEFT_EARLY`
    where it left while there was work: after a signal, an order to leave now, or near its limit.

    Raises:
        SweepError: the data at hand is not the data of the study, the device is missing, or the
            artifact store takes no files.
        StudiesError: no such study, or the database cannot be reached.
        DataError: the data set is missing or unreadable.
    """
    record = get_study(db, study)
    spec = Spec.from_dict(record.spec)
    grace = float(spec.run.grace_seconds)
    stop = StopRequest(options.parent_pid, time_limit=options.time_limit, grace=grace)
    stop.install()
    device = _device(options.device)
    torch.set_num_threads(options.threads)
    worker_id = options.worker_id or uuid.uuid4().hex
    _register(db, study, worker_id, device, options)
    desk = DeskProcess(db, study, worker_id, spec.run.lease_seconds)
    why: str | None = None
    try:
        with Heartbeat(db, worker_id, spec.run.lease_seconds, stop.order) as heartbeat:
            desk.ensure()  # it starts while the data are read
            worker = _Worker(
                db=db,
                study=record,
                spec=spec,
                data=study_data(record, spec).to(device),
                device=device,
                store=_store_of(record),
                worker_id=worker_id,
                desk=desk,
                heartbeat=heartbeat,
                stop=stop,
            )
            why = worker.work()
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise
    finally:
        desk.close()
        with suppress(StudiesError):
            end_worker(db, worker_id, why)
    return 0 if why is None or stop.drained else LEFT_EARLY


def _store_of(record: StudyRecord) -> ArtifactStore:
    """The study's store, once it has taken a file: not only after hours of training."""
    store = open_store(record.artifacts_url)
    store.check(create=False)
    return store


def _device(wanted: str) -> str:
    if wanted == "auto":
        return placements("auto", 1, 1)[0].device
    check_device(wanted)
    return wanted


def _register(
    db: Database, study: str, worker_id: str, device: str, options: WorkerOptions
) -> None:
    process = psutil.Process()
    register_worker(
        db,
        study,
        worker_id,
        host=socket.gethostname(),
        pid=process.pid,
        process_started_at=process.create_time(),
        device=device,
        versions=process_versions(device, options.threads),
        launcher_id=options.launcher_id,
    )


@final
@dataclass(frozen=True, kw_only=True)
class _Worker:
    """The loop of one worker over one study."""

    db: Database
    study: StudyRecord
    spec: Spec
    data: DataSet
    device: str
    store: ArtifactStore
    worker_id: str
    desk: DeskProcess
    heartbeat: Heartbeat
    stop: StopRequest

    def work(self) -> str | None:
        """Takes and trains trials; returns why it left, None if nothing was left to do."""
        pause = _SHORTEST_PAUSE
        self.heartbeat.beat()  # an order may stand already
        while not self.stop.draining:
            if self._too_late():
                return "its time limit is too near for another trial"
            lease = self._take()
            if lease is not None:
                self._run(lease)
                pause = _SHORTEST_PAUSE
            elif outlook(self.db, self.study.name).over:
                return None
            else:
                self.desk.ensure()
                time.sleep(pause * random.uniform(0.7, 1.3))
                pause = min(1.5 * pause, _LONGEST_PAUSE)
        return self.stop.reason

    def _take(self) -> Lease | None:
        return take_trial(
            self.db,
            self.study.name,
            self.worker_id,
            lease_seconds=self.spec.run.lease_seconds,
            max_attempts=self.spec.study.max_attempts,
            dedupe=self.spec.study.dedupe,
        )

    def _too_late(self) -> bool:
        """Whether a trial that takes as long as the longest so far would not be finished.

        One that would not be finished within any worker's whole time is begun all the same: the
        next worker goes on with it.
        """
        left, in_all = self.stop.seconds_left, self.stop.seconds_in_all
        if left is None or in_all is None:
            return False
        longest = longest_attempt_seconds(self.db, self.study.name)
        return longest is not None and left < _SAFETY * longest <= in_all

    def _run(self, lease: Lease) -> None:
        attempt = Attempt(
            db=self.db,
            lease=lease,
            store=self.store,
            data=self.data,
            device=self.device,
            stop=self.stop,
            lease_seconds=self.spec.run.lease_seconds,
            evaluation=self.spec.evaluation,
            checkpoint_seconds=self.spec.run.checkpoint_seconds,
        )
        self.heartbeat.hold(lease, lambda: attempt.note)
        try:
            if not self._reused(attempt):
                self._attempt(attempt)
        except LeaseLost as error:
            _log.warning("trial %d: %s", lease.number, error)
        finally:
            self.heartbeat.hold(None)

    def _reused(self, attempt: Attempt) -> bool:
        pixels, examples = self.data.pixels, len(self.data.train)
        if not self.spec.study.dedupe:
            return False
        reused = reuse_results(self.db, attempt.lease, pixels, examples)
        if reused:
            attempt.tidy()
        return reused

    def _attempt(self, attempt: Attempt) -> None:
        """Runs an attempt and records how it ended, unless the lease is lost."""
        lease = attempt.lease
        try:
            attempt.run()
        except KeyboardInterrupt:
            with suppress(LeaseLost):
                release_trial(self.db, lease, "stopped at once")
            raise
        except RecordError:
            attempt.fail(traceback.format_exc())
        except (StudiesError, StoreError):
            raise  # what stores the trial is gone, the trial is not: another goes on with it
        except Exception as error:  # noqa: BLE001 - what went wrong belongs into the record
            attempt.fail(traceback.format_exc())
            self._check_device_lives(lease.number, error)

    def _check_device_lives(self, number: int, error: Exception) -> None:
        """Leaves the process if the error broke the device for good (a CUDA assert does)."""
        try:
            torch.zeros(1, device=self.device).item()
        except RuntimeError:
            message = f"The device must answer after trial {number}, but it does not: {error}"
            raise SweepError(message) from error
