"""Scriptable HTTP servers on 127.0.0.1, and self-signed certificates for them."""

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from catalog.errors import Refused
from catalog.outbound.fetch import fetch_picture

Script = Callable[[socket.socket], None]


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Build an HTTP response; adds Content-Length unless a header gives the length."""
    if not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        headers = (*headers, f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


def redirect(to: str, status: str = "302 Found") -> bytes:
    return http_response(b"", f"Location: {to}", status=status)


def fetch_error_code(url: str) -> str:
    """Fetch `url`, expect a refusal and return its error code."""
    with pytest.raises(Refused) as refused:
        fetch_picture(url)
    assert refused.value.detail.endswith((".", "://."))
    return refused.value.code


class Server:
    """A server on 127.0.0.1 that sends the same bytes, or runs the same script, on every connection."""

    def __init__(self, behaviour: bytes | Script, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.behaviour, self.tls = behaviour, tls
        self.requests: list[bytes] = []
        self.hits = 0
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str = "/shirt.jpg", host: str = "localhost") -> str:
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def close(self) -> None:
        self.listener.close()

    def _serve(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self.listener.accept()
                self.hits += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # the client may close the connection at any time
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                self.requests.append(whole_request(connection))
                if isinstance(self.behaviour, bytes):
                    connection.sendall(self.behaviour)
                else:
                    self.behaviour(connection)


def whole_request(connection: socket.socket) -> bytes:
    """Read a request with its body; of anything that is not HTTP, the first piece."""
    request = b""
    while piece := connection.recv(65536):
        request += piece
        head, end, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        if not request[:1].isalpha() or (end and len(body) >= int(length[1] if length else 0)):
            break
    return request


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """Make a self-signed certificate for `name`. Returns the server's TLS context and the path of the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{name}.pem", folder / f"{name}.key"
    public.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public
