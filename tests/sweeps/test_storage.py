"""Which database holds, and where a study's files go."""

from pathlib import Path

import pytest

from studies.database import open_database
from sweeps.artifact_store import StoreError
from sweeps.errors import SweepError
from sweeps.storage import artifacts_url, logs_directory, storage_url


def test_the_option_wins_over_the_variable_and_that_over_the_spec(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert storage_url(None) == "sqlite:///rdsweep.db"
    assert storage_url(None, "sqlite:///spec.db") == "sqlite:///spec.db"
    monkeypatch.setenv("RDSWEEP_STORAGE", "sqlite:///variable.db")
    assert storage_url(None, "sqlite:///spec.db") == "sqlite:///variable.db"
    assert storage_url("sqlite:///option.db", "sqlite:///spec.db") == "sqlite:///option.db"


def test_a_file_name_instead_of_a_url_gets_the_url_that_was_meant() -> None:
    with pytest.raises(SweepError, match=r"--storage: must be .* did you mean sqlite:///x\.db\?"):
        storage_url("x.db")


def test_files_of_two_databases_in_one_folder_never_mix(tmp_path: Path) -> None:
    one = open_database(f"sqlite:///{tmp_path}/a.db")
    other = open_database(f"sqlite:///{tmp_path}/a.sqlite")
    assert artifacts_url(one, "") == f"{tmp_path}/a.db-files"
    assert artifacts_url(other, "") == f"{tmp_path}/a.sqlite-files"


def test_the_spec_may_name_a_directory_a_file_url_or_object_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db = open_database(f"sqlite:///{tmp_path}/a.db")
    assert artifacts_url(db, "mine") == f"{tmp_path}/mine"
    assert artifacts_url(db, "file:///shared/mine") == "/shared/mine"
    assert artifacts_url(db, "s3://bucket/mine?region=eu") == "s3://bucket/mine?region=eu"
    with pytest.raises(StoreError, match=r"must be a directory, .* but got ftp:…"):
        artifacts_url(db, "ftp://host/mine")


def test_logs_stay_on_the_machine_also_where_artifacts_do_not(tmp_path: Path) -> None:
    db = open_database(f"sqlite:///{tmp_path}/a.db")
    assert logs_directory(db, "/shared/mine", "small") == Path("/shared/mine/small/logs")
    beside = tmp_path / "a.db-files/small/logs"
    assert logs_directory(db, "s3://bucket/mine", "small") == beside


@pytest.mark.parametrize(
    "url", ["postgresql//me:geheim@host/db", "me:geheim@host/db", "postgresql:/me:gehe:im@host/db"]
)
def test_a_mistyped_url_is_shown_without_its_password(url: str) -> None:
    with pytest.raises(SweepError, match=r"--storage: must be sqlite.*:\*\*\*@host") as refused:
        storage_url(url)
    assert "gehe" not in str(refused.value)
