"""A trial of the database, ready to be trained again and set beside itself."""

from dataclasses import dataclass
from typing import Literal, cast, final

from studies.database import Database
from studies.queries import epochs_of, latents_of, trials_by_number
from studies.records import StudyRecord, TrialRecord, WorkerRecord
from studies.reuse import evaluation_of
from studies.study_records import get_study
from sweeps.agreement import Agreement, agreement_of
from sweeps.circumstances import Circumstances, circumstances_of, kind_of, trainers_of
from sweeps.devices import check_device
from sweeps.errors import SweepError
from sweeps.rerun import Ending, Rerun
from sweeps.spec import Spec
from sweeps.study_data import study_data
from vae_models.config import TrialConfig

__all__ = ["Reproduction", "prepare_reproduction"]


@final
@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A trial as it is stored, and its training to be done again.

    Attributes:
        trial: the trial.
        source: whose training is done again: the trial itself, or the one that it reused.
        stored: what the database has of it.
        trainers: the workers that trained it.
        circumstances: what may differ, and by how much.
        rerun: trains again when it is iterated over.
    """

    trial: TrialRecord
    source: TrialRecord
    stored: Ending
    trainers: tuple[WorkerRecord, ...]
    circumstances: Circumstances
    rerun: Rerun

    @property
    def agreement(self) -> Agreement:
        """What is stored beside what came out; there once `rerun` has been trained to its end."""
        return agreement_of(self.stored, self.rerun.ending, tolerance=self.circumstances.tolerance)


def prepare_reproduction(
    db: Database,
    study: str,
    number: int,
    *,
    device: str | None = None,
    threads: int | None = None,
    tolerance: float | None = None,
) -> Reproduction:
    """Reads all that a trial needs to be trained again, and sets this process up for it.

    Args:
        db: Where it is stored; nothing is written to it.
        study: Name of the study.
        number: Number of the trial.
        device: Where to train; None for the trial's own kind of device where there is one.
        threads: CPU threads; None for as many as the trial had.
        tolerance: By how much numbers may differ; None for what the circumstances call for.

    Raises:
        StudyNotFound: There is no study of that name.
        SweepError: There is no such trial, it has no results, the data are not those of the study,
            or the device is missing.
        DataError: The data set is missing or unreadable.
    """
    record = get_study(db, study)
    spec = Spec.from_dict(record.spec)
    trial = _finished(db, record, number)
    source = trial if trial.reused_from is None else _finished(db, record, trial.reused_from)
    trainers = trainers_of(db, study, source.number)
    place = _device(device, trainers)
    count = threads or _threads(trainers, spec)
    circumstances = circumstances_of(record, trainers, place, count, tolerance)
    data = study_data(record, spec)
    _use_threads(count)
    config = TrialConfig.from_dict(source.config)
    reused_by = None if trial is source else TrialConfig.from_dict(trial.config)
    return Reproduction(
        trial=trial,
        source=source,
        stored=_stored(db, trial, source),
        trainers=tuple(trainers),
        circumstances=circumstances,
        rerun=Rerun(
            config,
            data,
            place,
            spec.evaluation,
            reused_by,
            precision=circumstances.precision,
            packed=circumstances.packed,
            largest_latent_dim=spec.largest_latent_dim,
        ),
    )


def _finished(db: Database, record: StudyRecord, number: int) -> TrialRecord:
    """The trial, which was trained to its end."""
    trial = trials_by_number(db, record.name, [number]).get(number)
    where = f"trial {number} of study {record.name!r}"
    if trial is None:
        message = f"A trial must exist to be reproduced, but there is no {where}."
        raise SweepError(message)
    if trial.state not in ("complete", "diverged"):
        hint = "wait for its end" if trial.state != "failed" else "it left nothing to compare with"
        message = (
            f"A trial must be complete or diverged to be reproduced, but {where} is "
            f"{trial.state}; {hint}."
        )
        raise SweepError(message)
    return trial


def _stored(db: Database, trial: TrialRecord, source: TrialRecord) -> Ending:
    complete = trial.state == "complete"
    return Ending(
        state=cast("Literal['complete', 'diverged']", trial.state),
        error=trial.error,
        epochs=epochs_of(db, trial.study, [source.number]).get(source.number, ()),
        metrics=evaluation_of(trial) if complete else None,
        latents=latents_of(db, trial.study, [trial.number]).get(trial.number, ()),
    )


def _device(wanted: str | None, trainers: list[WorkerRecord]) -> str:
    if wanted is not None and wanted != "auto":
        check_device(wanted)
        return wanted
    kinds = [kind_of(worker.device) for worker in trainers[-1:] if wanted is None]
    if wanted == "auto":
        kinds = ["cuda"]
    for kind in kinds:
        first = "cuda:0" if kind == "cuda" else kind
        try:
            check_device(first)
        except SweepError:
            continue  # not on this machine: the CPU then, and the circumstances say so
        return first
    return "cpu"


def _threads(trainers: list[WorkerRecord], spec: Spec) -> int:
    recorded = [int(worker.versions.get("threads", 0)) for worker in trainers[-1:]]
    return next((count for count in recorded if count), spec.run.threads or 1)


def _use_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
