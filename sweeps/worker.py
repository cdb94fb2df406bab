"""One worker: takes trials from the queue, trains them, stores what they gave, until none is left.

The way of a trial: `suggestions` queued it, `take_trial` leases it, `Attempt.run` goes through its
epochs, measures it on held-out data and stores that; whoever next holds the sampler lease tells
Optuna. With `dedupe`, a trial whose training has been done already takes over its results instead.
"""

import logging
import socket
import time
import traceback
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace

import psutil
import torch

from studies.database import Database
from studies.errors import LeaseLost, RecordError, StudiesError
from studies.leases import release_trial, take_trial
from studies.outcomes import fail_trial
from studies.queue import counts
from studies.records import Lease, StudyRecord
from studies.study_records import get_study
from studies.workers import end_worker, list_workers, register_worker
from sweeps.attempt import Attempt
from sweeps.devices import check_device
from sweeps.errors import SweepError
from sweeps.heartbeat import Heartbeat
from sweeps.reused_results import reuse_results
from sweeps.spec import Spec
from sweeps.stopping import StopRequest
from sweeps.suggestions import SuggestionDesk
from sweeps.versions import package_versions
from vae_models.data import DataSet, load_data

_log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker runs.

    Attributes:
        device: a torch device ("cpu", "cuda:0").
        threads: CPU threads for torch; workers that share a machine share its cores.
        worker_id: the name under which it registers; made up where None.
        parent_pid: leave when this process is gone; None stays whatever happens.
    """

    device: str = "cpu"
    threads: int = 1
    worker_id: str | None = None
    parent_pid: int | None = None


def run_worker(study: str, db: Database, options: WorkerOptions) -> None:
    """Works on a study until all its trials are finished or a stop is asked for.

    Raises:
        SweepError: the data at hand is not the data of the study, or the device is missing.
        StudiesError: no such study, or the database cannot be reached.
        DataError: the data set is missing or unreadable.
    """
    stop = StopRequest(options.parent_pid)
    stop.install()
    check_device(options.device)
    torch.set_num_threads(options.threads)
    record = get_study(db, study)
    spec = Spec.from_dict(record.spec)
    data = _data_of(record, spec)
    worker_id = _register(db, study, options)
    try:
        with Heartbeat(db, worker_id, spec.run.lease_seconds) as heartbeat:
            desk = SuggestionDesk(
                db,
                db.url,
                study=study,
                spec=spec,
                pixels=data.pixels,
                worker_id=worker_id,
                examples=len(data.train),
            )
            _Worker(
                db=db,
                study=record,
                spec=spec,
                data=data.to(options.device),
                device=options.device,
                worker_id=worker_id,
                desk=desk,
                heartbeat=heartbeat,
                stop=stop,
            ).work()
    finally:
        end_worker(db, worker_id)


def _data_of(record: StudyRecord, spec: Spec) -> DataSet:
    root = record.data["root"]  # absolute: this worker may stand elsewhere
    data = load_data(spec.data if root is None else replace(spec.data, root=root))
    if data.checksum != record.data["checksum"]:
        message = (
            f"The data must be what study {record.name!r} was made with (checksum "
            f"{record.data['checksum'][:12]}), but {data.name!r} here has {data.checksum[:12]}; "
            "restore that data or start a new study."
        )
        raise SweepError(message)
    return data


def _register(db: Database, study: str, options: WorkerOptions) -> str:
    worker_id = options.worker_id or uuid.uuid4().hex
    process = psutil.Process()
    register_worker(
        db,
        study,
        worker_id,
        host=socket.gethostname(),
        pid=process.pid,
        process_started_at=process.create_time(),
        device=options.device,
        versions=package_versions(),
    )
    return worker_id


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """The loop of one worker over one study."""

    db: Database
    study: StudyRecord
    spec: Spec
    data: DataSet
    device: str
    worker_id: str
    desk: SuggestionDesk
    heartbeat: Heartbeat
    stop: StopRequest

    def work(self) -> None:
        """Takes and trains trials until none is left or a stop is asked for."""
        while not self.stop.requested:
            lease = take_trial(
                self.db,
                self.study.name,
                self.worker_id,
                lease_seconds=self.spec.run.lease_seconds,
                max_attempts=self.spec.study.max_attempts,
                dedupe=self.spec.study.dedupe,
            )
            if lease is not None:
                self._run(lease)
            elif not self._more_is_coming():
                return

    def _more_is_coming(self) -> bool:
        """Refills the queue; False when every trial of the study is finished and told.

        A batch holds one suggestion for each worker: with one worker each suggestion knows all
        results before it, and a seeded study repeats.
        """
        workers = len(list_workers(self.db, self.study.name, ended=False))
        refill = self.desk.refill(max(1, workers))
        if refill.queued:
            return True
        unfinished = counts(self.db, self.study.name)
        if not refill.held_elsewhere and not (unfinished["queued"] or unfinished["running"]):
            return False
        time.sleep(IDLE_SECONDS)
        return True

    def _run(self, lease: Lease) -> None:
        self.heartbeat.hold(lease)
        attempt = Attempt(
            db=self.db,
            study=self.study,
            lease=lease,
            data=self.data,
            device=self.device,
            stop=self.stop,
            evaluation=self.spec.evaluation,
        )
        try:
            if not self._reused(lease):
                self._attempt(attempt)
        except LeaseLost as error:
            _log.warning("trial %d: %s", lease.number, error)
        finally:
            self.heartbeat.hold(None)

    def _reused(self, lease: Lease) -> bool:
        pixels, examples = self.data.pixels, len(self.data.train)
        return self.spec.study.dedupe and reuse_results(self.db, lease, pixels, examples)

    def _attempt(self, attempt: Attempt) -> None:
        """Runs an attempt and records how it ended, unless the lease is lost."""
        lease = attempt.lease
        try:
            attempt.run()
        except KeyboardInterrupt:
            with suppress(LeaseLost):
                release_trial(self.db, lease, "stopped at once")
            raise
        except OSError as error:
            with suppress(LeaseLost):
                release_trial(self.db, lease, f"could not write: {error}")
            message = f"The files of a trial must be writable, but: {error}; run again later."
            raise SweepError(message) from error
        except RecordError:
            fail_trial(self.db, lease, traceback.format_exc())
        except StudiesError:
            raise  # the database is gone, the trial is not: whoever comes next goes on with it
        except Exception as error:  # noqa: BLE001 - what went wrong belongs into the record
            fail_trial(self.db, lease, traceback.format_exc())
            self._check_device_lives(lease.number, error)

    def _check_device_lives(self, number: int, error: Exception) -> None:
        """Leaves the process if the error broke the device for good (a CUDA assert does)."""
        try:
            torch.zeros(1, device=self.device).item()
        except RuntimeError:
            message = f"The device must answer after trial {number}, but it does not: {error}"
            raise SweepError(message) from error
