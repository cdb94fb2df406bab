"""Which database holds, and where a study's files go."""

from pathlib import Path

import pytest

from studies.database import open_database
from sweeps.errors import SweepError
from sweeps.storage import artifacts_directory, storage_url


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
    assert artifacts_directory(one, "") == tmp_path / "a.db-files"
    assert artifacts_directory(other, "") == tmp_path / "a.sqlite-files"
    assert artifacts_directory(one, str(tmp_path / "mine")) == tmp_path / "mine"
