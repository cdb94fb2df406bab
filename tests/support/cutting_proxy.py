"""A network that fails at the worst moment: a proxy before a PostgreSQL server.

It passes everything on, until it is told to cut the connection at a COMMIT: before the server has
heard of it, or after the server has done it and before its answer arrives.
"""

from __future__ import annotations

import socket
import threading
from select import select
from types import TracebackType
from typing import Literal, Self, final

from sqlalchemy import make_url

Moment = Literal["before", "after"]


@final
class CuttingProxy:
    """A proxy on a port of its own; as a context manager it is gone in the end.

    Attributes:
        url: The server's URL, by way of the proxy.
        cuts: How many connections were cut.
    """

    def __init__(self, server_url: str) -> None:
        server = make_url(server_url)
        self._server = (server.host or "127.0.0.1", server.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        url = server.set(host="127.0.0.1", port=self._listener.getsockname()[1])
        self.url = url.update_query_dict({"sslmode": "disable"}).render_as_string(
            hide_password=False
        )
        self.cuts = 0
        self._left: int | None = None
        self._moment: Moment = "after"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def cut(self, commit: int, moment: Moment) -> None:
        """Cuts the connection at a COMMIT from now on, once.

        Args:
            commit: Which one, from 0.
            moment: Before the server hears of it, or after the server has done it.
        """
        self._left, self._moment = commit, moment

    def spare(self) -> None:
        """Cuts nothing any more."""
        self._left = None

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._pass_on, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            while not self._ended.is_set():
                for ready in select([client, server], [], [], 0.05)[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    if ready is server:
                        client.sendall(data)
                    elif self._is_the_one(data):
                        if self._moment == "after":
                            server.sendall(data)
                            server.recv(1 << 16)  # it answers once the commit is done
                        self.cuts += 1
                        return
                    else:
                        server.sendall(data)

    def _is_the_one(self, data: bytes) -> bool:
        if b"COMMIT" not in data or self._left is None:
            return False
        self._left = self._left - 1 if self._left else None
        return self._left is None
