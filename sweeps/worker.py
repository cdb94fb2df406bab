"""One worker: takes trials from the queue, trains them, stores what they gave, until none is left.

The way of a trial: the desk (`sweeps.desk`) queued it, `take_trial` leases it, `Attempt` gives it a
slot of the trainer, hears of its epochs, measures it on held-out data and stores that; the desk
tells Optuna. A `Pack` trains several at a time, and the slot of one that has ended takes the next.
With `dedupe`, a trial whose training has been done already takes over its results instead.
"""

import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import psutil
import torch

from studies.database import Database
from studies.errors import StudiesError
from studies.records import StudyRecord
from studies.study_records import get_study
from studies.workers import describe_worker, end_worker, list_workers, register_worker
from sweeps.artifact_store import ArtifactStore, open_store
from sweeps.desk_process import DeskProcess
from sweeps.devices import check_device, placements
from sweeps.heartbeat import Heartbeat
from sweeps.launcher import LEFT_EARLY
from sweeps.pack import Pack
from sweeps.pack_choice import choose_pack, measured_pack
from sweeps.precision_choice import choose_precision
from sweeps.spec import Spec
from sweeps.stopping import StopRequest
from sweeps.study_data import study_data
from sweeps.trial_loop import TrialLoop
from sweeps.versions import process_versions
from vae_models.data import DataSet
from vae_models.image_sources import placed
from vae_models.trainer import Trainer

__all__ = ["WorkerOptions", "run_worker"]


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
    precision = choose_precision(spec.run.precision, device)
    versions = process_versions(device, options.threads, precision)
    _register(db, study, worker_id, device, versions, options.launcher_id)
    desk = DeskProcess(db, study, worker_id, spec.run.lease_seconds)
    why: str | None = None
    try:
        with Heartbeat(db, worker_id, spec.run.lease_seconds, stop.order) as heartbeat:
            desk.ensure()  # it starts while the data are read
            data = placed(study_data(record, spec), torch.device(device))
            store = _store_of(record)
            pack = _pack(db, spec, data, device, versions, worker_id, heartbeat, stop)
            loop = TrialLoop(
                db=db,
                study=record,
                spec=spec,
                data=data,
                store=store,
                worker_id=worker_id,
                desk=desk,
                heartbeat=heartbeat,
                stop=stop,
                pack=pack,
            )
            why = loop.work()
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
    db: Database,
    study: str,
    worker_id: str,
    device: str,
    versions: dict[str, Any],
    launcher_id: str | None,
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
        versions=versions,
        launcher_id=launcher_id,
    )


def _pack(
    db: Database,
    spec: Spec,
    data: DataSet,
    device: str,
    versions: dict[str, Any],
    worker_id: str,
    heartbeat: Heartbeat,
    stop: StopRequest,
) -> Pack:
    """An empty pack of the size that suits the device, which the worker's record tells."""
    choice = choose_pack(
        spec.run.pack,
        device,
        versions,
        list_workers(db, spec.study.name),
        lambda: measured_pack(spec, data, device, versions["precision"]),
    )
    described = {**versions, **choice.versions}
    describe_worker(db, worker_id, described)

    def trainer(slots: int) -> Trainer:
        return Trainer(
            [],
            data,
            device=device,
            slots=slots,
            precision=versions["precision"],
            largest_latent_dim=spec.largest_latent_dim,
        )

    def smaller(size: int) -> None:
        pack = "packed" if size > 1 else "mixed"
        describe_worker(db, worker_id, {**described, "pack": pack, "slots": size})

    return Pack(choice.size, trainer, heartbeat, stop, device, on_smaller=smaller)
