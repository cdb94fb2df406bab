"""The data of a study that exists, made sure to be what its trials were trained on."""

from dataclasses import replace

from studies.records import StudyRecord
from sweeps.errors import SweepError
from sweeps.spec import Spec
from vae_models.data import DataSet, load_data

__all__ = ["study_data"]


def study_data(record: StudyRecord, spec: Spec) -> DataSet:
    """The data set of a study, wherever this process stands.

    Args:
        record: The study.
        spec: Its spec.

    Raises:
        SweepError: The data at hand is not the data of the study.
        DataError: The data set is missing or unreadable.
    """
    root = record.data["root"]  # absolute: whoever reads it may stand elsewhere
    data = load_data(spec.data if root is None else replace(spec.data, root=root))
    if data.checksum != record.data["checksum"]:
        message = (
            f"The data must be what study {record.name!r} was made with (checksum "
            f"{record.data['checksum'][:12]}), but {data.name!r} here has {data.checksum[:12]}; "
            "restore that data or start a new study."
        )
        raise SweepError(message)
    return data
