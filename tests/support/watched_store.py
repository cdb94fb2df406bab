"""A store that lets a test act around each write."""

from collections.abc import Callable

from sweeps.artifact_store import ArtifactStore, StoredFile


class Watched(ArtifactStore):
    """Another store, with something done before or after each write of a key to it."""

    def __init__(
        self,
        inner: ArtifactStore,
        *,
        before: Callable[[str], None] = lambda key: None,
        after: Callable[[str], None] = lambda key: None,
    ) -> None:
        self._inner, self._before, self._after = inner, before, after

    @property
    def url(self) -> str:
        return self._inner.url

    def create(self) -> None:
        self._inner.create()

    def put(self, key: str, content: bytes) -> None:
        self._before(key)
        self._inner.put(key, content)
        self._after(key)

    def get(self, key: str) -> bytes:
        return self._inner.get(key)

    def keys(self, folder: str = "") -> list[StoredFile]:
        return self._inner.keys(folder)

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def clear_leftovers(self, folder: str) -> int:
        return self._inner.clear_leftovers(folder)
