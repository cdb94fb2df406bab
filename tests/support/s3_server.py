"""A real server of the S3 protocol on this machine, for tests of what is stored there."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "a secret of the tests"}
BUCKET = "sweeps"


@dataclass(frozen=True)
class S3Server:
    """Where the server listens; it holds one bucket."""

    endpoint: str

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            made = cls(f"http://{host}:{port}")
            made._send("PUT", BUCKET)
            yield made
        finally:
            server.stop()

    def url(self, prefix: str = "", bucket: str = BUCKET) -> str:
        return f"s3://{bucket}/{quote(prefix)}?endpoint={self.endpoint}"

    @contextmanager
    def asking_for_keys(self) -> Iterator[None]:
        """From now on the server refuses whoever it does not know, and it knows nobody."""
        self._allow("0")
        try:
            yield
        finally:
            self._allow("inf")

    def _allow(self, requests: str) -> None:
        self._send("POST", "moto-api/reset-auth", requests.encode())

    def _send(self, method: str, path: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(f"{self.endpoint}/{path}", body, method=method)
        request.add_header("Content-Type", "text/plain")
        urllib.request.urlopen(request).close()


def use_keys(monkeypatch: pytest.MonkeyPatch, **others: str) -> None:
    """Sets the variables that hold credentials, and no others of that kind."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**KEYS, **others}.items():
        monkeypatch.setenv(name, value)
