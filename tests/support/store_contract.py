"""What holds for every store of artifacts; its tests inherit these."""

import os
import random
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import pytest

from sweeps.artifact_store import ArtifactStore, KeyMissing, StoreError, open_store

WRITER = """
import sys
from sweeps.artifact_store import open_store
store, key, size = open_store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
contents = [bytes([fill]) * size for fill in range(10)]
print("writing", flush=True)
while True:
    for content in contents:
        store.put(key, content)
"""

STRANGE = "a study [1], 100% β & co/00003-1a2b3c4d/file #1?.bin"


def keys_of(store: ArtifactStore, folder: str = "") -> list[str]:
    files = store.keys(folder)
    return [file.key for file in files]


def is_whole(content: bytes, size: int) -> bool:
    """Whether a content is one of those that `WRITER` writes."""
    return len(content) == size and len(set(content)) == 1


class StoreContract(ABC):
    """What holds for every store; a new one inherits these tests."""

    size = 3_000_000
    """Bytes that take long enough to write that a kill falls into it."""

    @pytest.fixture
    @abstractmethod
    def store(self) -> ArtifactStore:
        """An empty store."""

    @pytest.mark.parametrize(
        "content", [b"", b"\x00\xff\r\n" * 7, bytes(17_000_000)], ids=["empty", "binary", "large"]
    )
    def test_what_was_put_comes_back_byte_for_byte(
        self, store: ArtifactStore, content: bytes
    ) -> None:
        store.put("study/trial/file.bin", content)
        assert store.get("study/trial/file.bin") == content

    def test_the_last_put_holds(self, store: ArtifactStore) -> None:
        store.put("study/file", b"a long first content")
        store.put("study/file", b"second")
        assert store.get("study/file") == b"second"

    def test_names_may_hold_what_a_studys_name_may_hold(self, store: ArtifactStore) -> None:
        store.put(STRANGE, b"here")
        assert store.get(STRANGE) == b"here"
        assert keys_of(store, "a study [1], 100% β & co") == [STRANGE]
        store.delete(STRANGE)
        assert store.keys() == []

    def test_a_key_that_is_not_there_is_named(self, store: ArtifactStore) -> None:
        with pytest.raises(KeyMissing, match=r"study/none must be in .*, but there is no such"):
            store.get("study/none")

    def test_a_folder_lists_all_that_is_below_it_in_order_and_no_more(
        self, store: ArtifactStore
    ) -> None:
        for key in ("a/b/2", "a/b/1", "a/b/c/3", "a/bc/4", "a/5", "z"):
            store.put(key, key.encode() * 2)
        assert keys_of(store, "a/b") == ["a/b/1", "a/b/2", "a/b/c/3"]
        assert [file.size for file in store.keys("a/b")] == [10, 10, 14]
        assert keys_of(store) == [
            "a/5",
            "a/b/1",
            "a/b/2",
            "a/b/c/3",
            "a/bc/4",
            "z",
        ]
        assert store.keys("a/none") == []
        assert store.keys("z") == []

    def test_a_folder_of_many_files_lists_them_all(self, store: ArtifactStore) -> None:
        keys = [f"many/{number:03d}" for number in range(120)]
        for key in keys:
            store.put(key, b"x")
        assert keys_of(store, "many") == keys

    def test_what_was_deleted_is_gone_and_may_be_deleted_again(self, store: ArtifactStore) -> None:
        store.put("a/b", b"")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/was")
        assert store.keys() == []
        with pytest.raises(KeyMissing, match="a/b must be in"):
            store.get("a/b")

    @pytest.mark.parametrize(
        "key", ["", "/a", "a//b", "../a", "a/../b", "a/.hidden", "a/", "a\\b"]
    )
    def test_a_key_that_could_lead_elsewhere_is_refused(
        self, store: ArtifactStore, key: str
    ) -> None:
        for use in (store.get, store.delete, lambda key: store.put(key, b"")):
            with pytest.raises(StoreError, match="A key must be a relative path"):
                use(key)

    def test_its_url_opens_it_again(self, store: ArtifactStore) -> None:
        store.put("study/file", b"content")
        again = open_store(store.url)
        assert again.url == store.url
        assert again.get("study/file") == b"content"

    def test_what_is_made_again_stays_as_it_is(self, store: ArtifactStore) -> None:
        store.put("study/file", b"content")
        store.create()
        assert store.get("study/file") == b"content"

    def test_a_check_leaves_nothing_behind(self, store: ArtifactStore) -> None:
        store.check()
        assert store.keys() == []

    def test_readers_never_see_a_half_of_what_many_write_at_once(
        self, store: ArtifactStore
    ) -> None:
        store.put("study/file", bytes(100_000))

        def write(fill: int) -> None:
            for _ in range(5):
                store.put("study/file", bytes([fill]) * 100_000)

        with ThreadPoolExecutor(5) as pool:
            writers = [pool.submit(write, fill) for fill in range(4)]
            while not all(writer.done() for writer in writers):
                assert is_whole(store.get("study/file"), 100_000)
        assert [writer.result() for writer in writers] == [None] * 4

    def test_a_writer_killed_at_any_moment_leaves_whole_files_only(
        self, store: ArtifactStore
    ) -> None:
        rng = random.Random(0)
        store.put("study/trial/file", bytes(self.size))
        for _ in range(6):
            kill_a_writer(store, "study/trial/file", self.size, rng.uniform(0, 0.1))
            assert is_whole(store.get("study/trial/file"), self.size)
            assert keys_of(store) == ["study/trial/file"]
        store.clear_leftovers("study/trial")
        store.put("study/trial/file", b"after all")
        assert store.get("study/trial/file") == b"after all"

    def test_clearing_leftovers_takes_no_whole_file(self, store: ArtifactStore) -> None:
        store.put("study/trial/file", b"whole")
        assert store.clear_leftovers("study/trial") == 0
        assert store.clear_leftovers("study/none") == 0
        assert store.get("study/trial/file") == b"whole"


def kill_a_writer(store: ArtifactStore, key: str, size: int, seconds: float) -> None:
    """Kills a process so long after it began to write the key again and again."""
    command = [sys.executable, "-c", WRITER, store.url, key, str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
