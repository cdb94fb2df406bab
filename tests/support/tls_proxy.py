"""TLS before a PostgreSQL server that has none: a certificate authority and a proxy in its name."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from select import select
from types import TracebackType
from typing import Self, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import make_url

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@final
class Authority:
    """A certificate authority of its own.

    Attributes:
        certificate: The file that its clients trust, PEM.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = folder / f"{name}.crt"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        signed = self._certificate(self._name, self._key.public_key(), constraints)
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def server_context(self, address: str) -> ssl.SSLContext:
        """Returns what a server at an address proves its identity with."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        file = self._folder / f"{address}.pem"
        file.write_bytes(
            self._certificate(subject, key.public_key(), names).public_bytes(
                serialization.Encoding.PEM
            )
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        today = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - dt.timedelta(days=1))
            .not_valid_after(today + dt.timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(self._key, hashes.SHA256())
        )


@final
class TlsProxy:
    """Speaks TLS to clients and plainly to the server; as a context manager it is gone in the end.

    Attributes:
        url: The server's URL, by way of the proxy.
        secured: How many connections were made by TLS.
    """

    def __init__(self, server_url: str, context: ssl.SSLContext, address: str) -> None:
        server = make_url(server_url)
        self._server = (server.host or "127.0.0.1", server.port or 5432)
        self._context = context
        self._listener = socket.create_server((address, 0))
        port = self._listener.getsockname()[1]
        url = server.set(host=address, port=port)
        self.url = url.render_as_string(hide_password=False)
        self.secured = 0
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

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._talk, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            if client.recv(len(_SSL_REQUEST)) != _SSL_REQUEST:
                return
            client.sendall(b"S")
            try:
                secure = self._context.wrap_socket(client, server_side=True)
            except OSError:  # the client does not trust us
                return
            self.secured += 1
            with secure, socket.create_connection(self._server) as server:
                self._pass_on(secure, server)

    def _pass_on(self, client: ssl.SSLSocket, server: socket.socket) -> None:
        while not self._ended.is_set():
            pending = [client] if client.pending() else []
            for ready in pending or select([client, server], [], [], 0.05)[0]:
                data = ready.recv(1 << 16)
                if not data:
                    return
                (server if ready is client else client).sendall(data)
