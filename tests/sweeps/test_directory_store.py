"""Artifacts in a directory: whole files or none, and a clear line where it cannot be written."""

import os
import random
from pathlib import Path

import pytest

from small_disk import small_disk
from store_contract import StoreContract, keys_of, kill_a_writer
from sweeps.artifact_store import StoreError, StoreFull, open_store, store_url
from sweeps.directory_store import DirectoryStore

PART = ".file.0123456789abcdef0123456789abcdef.part"


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> DirectoryStore:
        return _created(tmp_path / "made/on/the/way/files")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return _created(tmp_path / "files")


def _created(directory: Path) -> DirectoryStore:
    store = DirectoryStore(directory)
    store.create()
    return store


def test_a_leftover_of_a_killed_writer_is_no_file_and_can_be_cleared(
    store: DirectoryStore, tmp_path: Path
) -> None:
    """Killed until a kill falls between the first byte and the rename."""
    folder, rng = tmp_path / "files/study/trial", random.Random(0)
    for _ in range(50):
        kill_a_writer(store, "study/trial/file", 30_000_000, rng.uniform(0, 0.1))
        if any(path.name.startswith(".file.") for path in folder.iterdir()):
            break
    assert keys_of(store) in ([], ["study/trial/file"])
    assert store.clear_leftovers("study/trial") == 1
    assert {path.name for path in folder.iterdir()} <= {"file"}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    store: DirectoryStore, tmp_path: Path
) -> None:
    """The target is a directory: the rename fails after everything was written."""
    store.put("study/file/below", b"old")
    with pytest.raises(StoreError, match=r"must be a directory to write study/file \(3 bytes\)"):
        store.put("study/file", b"new")
    assert [path.name for path in (tmp_path / "files/study").iterdir()] == ["file"]
    assert store.get("study/file/below") == b"old"


def test_a_file_in_the_way_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("mine")
    store = DirectoryStore(tmp_path / "files")
    for use in (store.create, store.check, store.keys, lambda: store.get("study/file")):
        with pytest.raises(StoreError, match=r"must be a directory .*files is in the way"):
            use()


def test_a_directory_that_this_machine_does_not_have_is_no_empty_store(tmp_path: Path) -> None:
    """A worker on a machine without the shared file system must not start everything again."""
    store = DirectoryStore(tmp_path / "files")
    for use in (
        lambda: store.check(create=False),
        store.keys,
        lambda: store.get("a"),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreError, match=r"files must exist on this machine .*; mount the"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_whose_unfinished_file_was_cleared_writes_nothing(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it was suspended, lost its trial, and whoever has that now tidied up."""
    store.put("study/trial/file", b"theirs")
    sync = os.fsync

    def suspended(descriptor: int) -> None:
        sync(descriptor)
        DirectoryStore(tmp_path / "files").clear_leftovers("study/trial")

    monkeypatch.setattr(os, "fsync", suspended)
    with pytest.raises(StoreError, match=r"must stay to write study/trial/file .* was removed"):
        store.put("study/trial/file", b"late")
    assert store.get("study/trial/file") == b"theirs"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_refused_with_what_to_check(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"must be writable .*: Permission denied; check its"):
        _created(tmp_path / "files")


def test_a_read_only_disk_is_refused_with_what_to_check(tmp_path: Path) -> None:
    refusal = r"must be writable .*: Read-only file system; check its"
    with (
        small_disk(tmp_path / "disk", "ro,size=64k") as disk,
        pytest.raises(StoreError, match=refusal),
    ):
        DirectoryStore(disk).check()


def test_a_full_disk_keeps_what_it_has_and_takes_more_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=256k") as disk:
        store = DirectoryStore(disk)
        store.put("study/old", bytes(100_000))
        with pytest.raises(
            StoreFull, match=r"room to write study/new \(200,000 bytes\), but it is"
        ):
            store.put("study/new", bytes(200_000))
        with pytest.raises(StoreFull, match="room to write study/old"):
            store.put("study/old", bytes([1]) * 200_000)
        assert store.get("study/old") == bytes(100_000)
        assert [path.name for path in (disk / "study").iterdir()] == ["old"]
        store.delete("study/old")
        store.put("study/new", bytes(200_000))
        assert len(store.get("study/new")) == 200_000


def test_a_path_and_a_file_url_name_the_same_store(tmp_path: Path) -> None:
    assert store_url("file:///a%20b/c") == store_url("/a b/c") == "/a b/c"
    assert store_url("file://localhost/a") == "/a"
    assert open_store("file:///a%20b").url == "/a b"


def test_a_relative_directory_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert store_url("files") == str(tmp_path / "files")
    assert store_url("~/files") == "/home/me/files"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("gs://bucket/x", r"got gs:…; Google's storage speaks S3 too"),
        ("http://host:9000/bucket", r"s3://BUCKET/PREFIX\?endpoint=http://HOST:PORT"),
        ("s3a://bucket", r"did you mean s3://\?"),
        ("s3:/bucket/x", "write two slashes: s3://"),
        ("file://server/x", "write three slashes"),
        ("file:///a#b", r"write \? and # in a name as %3F and %23"),
        ("ftp://me:secret@host/x", r"file:///DIRECTORY or s3://BUCKET/PREFIX, but got ftp:…\.$"),
    ],
)
def test_a_url_of_another_kind_is_refused_with_the_one_that_was_meant(url: str, hint: str) -> None:
    for use in (store_url, open_store):
        with pytest.raises(StoreError, match=hint):
            use(url)
