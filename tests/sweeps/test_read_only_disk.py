"""A database on a disk that is read-only, such as a snapshot: it is read, and every write is refused."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agreement import all_files
from rdsweep_command import Rdsweep
from small_disk import small_disk


@pytest.fixture
def archived(finished: Rdsweep, tmp_path: Path) -> Iterator[Rdsweep]:
    """A finished sweep, which was copied to a disk that then became read-only."""
    with small_disk(tmp_path / "disk", "size=200m") as disk:
        shutil.copytree(finished.folder, disk, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield Rdsweep(disk)


def test_all_that_only_reads_works(archived: Rdsweep, finished: Rdsweep, tmp_path: Path) -> None:
    before = all_files(archived.folder)
    columns = ("query", "small", "--columns", "number,rate_nats,distortion_se", "--format", "csv")
    for words in columns, ("front", "small", "--format", "csv"):
        assert archived(*words).stdout == finished(*words).stdout
    assert "8 of 8 finished" in archived("status", "small").stdout
    archived("report", "small", "--out", str(tmp_path / "report"))
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    assert "bit for bit equal" in archived("reproduce", "small", "0").stdout
    copy = f"sqlite:///{tmp_path / 'copy.db'}"
    assert " 8 " in archived("db", "copy", archived.url, copy).stdout
    assert archived(*columns, "--storage", copy).stdout == finished(*columns).stdout
    assert all_files(archived.folder) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "small.toml", "--set", "study.trials=9"), "must be writable"),
        (("worker", "small", "--device", "cpu"), "must be writable, but it is read-only"),
        (("stop", "small"), "must be writable, but it is read-only"),
        (("db", "copy", "{finished}", "{archived}"), "must be writable"),
        (("init", "new.toml"), "must be writable"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_all_that_writes_is_refused_in_one_line(
    archived: Rdsweep, finished: Rdsweep, words: tuple[str, ...], message: str
) -> None:
    urls = {"finished": finished.url, "archived": archived.url}
    refused = archived(*(word.format(**urls) for word in words), status=2)
    assert message in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr


def test_the_doctor_says_so(archived: Rdsweep) -> None:
    said = archived("doctor", status=1).stdout
    assert "must be writable for a sweep" in said
    assert "Traceback" not in said
