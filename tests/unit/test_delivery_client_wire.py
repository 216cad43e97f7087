"""What arrives over a real socket, broken in every way, becomes one clear error of ours."""

from __future__ import annotations

import datetime as dt
import gzip
import logging
import pickle
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from audience_sync.connector import (
    AudienceSyncError,
    ConfigurationError,
    RefusedError,
    TemporaryPartnerError,
    UnreachedError,
)
from audience_sync.delivery import wire
from audience_sync.delivery.wire import Wire

CANARY = "secret-canary"


class RawServer:
    """Answers each connection with the same bytes and closes it; keeps what it was sent."""

    def __init__(self, answer: bytes, *, keep_open: bool = False) -> None:
        self.answer, self.keep_open, self.heard = answer, keep_open, list[bytes]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            try:
                self.heard.append(connection.recv(65_536))
                connection.sendall(self.answer)
            except OSError:
                pass  # the client hung up first, as it should on a long answer
            if self.keep_open:
                self._held.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._held:
            connection.close()


@pytest.fixture
def serve() -> Iterator[type[RawServer]]:
    made: list[RawServer] = []

    class Kept(RawServer):
        def __init__(self, answer: bytes, *, keep_open: bool = False) -> None:
            super().__init__(answer, keep_open=keep_open)
            made.append(self)

    yield Kept
    for server in made:
        server.close()


@pytest.fixture
def line() -> Iterator[Wire]:
    made = Wire((0.3, 0.3))
    yield made
    made.close()


def _get(line: Wire, url: str, token: str = CANARY) -> wire.Answer:
    return line.send(
        "GET",
        f"{url}/path-canary",
        body=None,
        params={"appsecret_proof": CANARY},
        headers={"Authorization": f"Bearer {token}"},
    )


def _failure(line: Wire, url: str, token: str = CANARY) -> AudienceSyncError:
    with pytest.raises(AudienceSyncError) as caught:
        _get(line, url, token)
    error = caught.value
    said = "".join(traceback.format_exception(error)) + repr(error) + repr(error.args)
    assert CANARY not in said.replace("CANARY", "")
    assert "path-canary" not in str(error)
    assert error.__context__ is None
    assert error.__cause__ is None
    return error


def test_an_answer_is_read_whole(serve: type[RawServer], line: Wire) -> None:
    """Status, headers in lower case, and the body as the partner wrote it."""
    body = gzip.compress(b'{"ok":1}')
    server = serve(
        b"HTTP/1.1 201 Created\r\nX-Some-Header: Yes\r\nContent-Encoding: gzip\r\n"
        b"Set-Cookie: a=b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    )
    answer = _get(line, server.url)
    assert (answer.status, answer.body) == (201, b'{"ok":1}')
    assert answer.headers["x-some-header"] == "Yes"
    _get(line, server.url)
    assert b"cookie" not in server.heard[1].lower()


BROKEN = {
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "no answer": b"",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
    "not gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_broken_answers_are_temporary(serve: type[RawServer], line: Wire, answer: bytes) -> None:
    """Whatever breaks off on the way is tried again."""
    assert type(_failure(line, serve(answer).url)) is TemporaryPartnerError


def test_silence_is_temporary(serve: type[RawServer], line: Wire) -> None:
    """A partner that never answers is not waited for without end."""
    error = _failure(line, serve(b"", keep_open=True).url)
    assert type(error) is TemporaryPartnerError
    assert "in time" in str(error)


def test_nobody_there_is_temporary(line: Wire) -> None:
    """A refused connection is tried again, and known to have carried nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert type(_failure(line, f"http://127.0.0.1:{port}")) is UnreachedError


def test_a_drip_ends(serve: type[RawServer], line: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that takes too long as a whole is given up, even while bytes arrive."""
    monkeypatch.setattr(wire, "MAXIMUM_DURATION", -1.0)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert type(_failure(line, serve(answer).url)) is TemporaryPartnerError


@pytest.mark.parametrize(
    "head", [b"Content-Length: 9999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n270f\r\n"]
)
def test_a_slow_drip_ends_in_time(line: Wire, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """Single bytes, each of them in time, do not keep us longer than one answer may take."""
    monkeypatch.setattr(wire, "MAXIMUM_DURATION", 0.2)
    ended, sent = threading.Event(), [0]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
                try:
                    while not ended.wait(0.02) and sent[0] < 500:
                        connection.sendall(b" ")
                        sent[0] += 1
                except OSError:
                    pass  # the client hung up, as it should

        thread = threading.Thread(target=drip)
        thread.start()
        error = _failure(line, f"http://127.0.0.1:{listener.getsockname()[1]}")
        ended.set()
        thread.join()
    assert type(error) is TemporaryPartnerError
    assert sent[0] < 500


def test_a_flood_is_not_read(serve: type[RawServer], line: Wire) -> None:
    """An answer beyond ten megabytes, zipped or not, is dropped."""
    body = gzip.compress(bytes(wire.MAXIMUM_ANSWER + 1))
    server = serve(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    error = _failure(line, server.url)
    assert type(error) is TemporaryPartnerError
    assert "10 MB" in str(error)


def test_a_redirect_is_not_followed(serve: type[RawServer], line: Wire) -> None:
    """The credentials stay with the address in the project file."""
    elsewhere = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    server = serve(
        b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % elsewhere.url.encode()
    )
    assert _get(line, server.url).status == 302
    assert elsewhere.heard == []


@pytest.mark.parametrize("token", [f"{CANARY}\r\nX: 1", f"{CANARY}\N{SNOWMAN}"])
def test_a_token_that_cannot_be_sent_is_a_setting(line: Wire, token: str) -> None:
    """A line break or a strange letter in a token is a matter for the settings."""
    assert type(_failure(line, "http://127.0.0.1:9", token)) is ConfigurationError


@pytest.mark.parametrize("url", ["partner.example", "http://", "ftp://partner.example", "http://["])
def test_an_address_that_is_none_is_a_setting(line: Wire, url: str) -> None:
    """A base_url that cannot be an address is named as such."""
    error = _failure(line, url)
    assert type(error) is ConfigurationError
    assert "base_url" in str(error)


def test_an_unknown_certificate_is_refused(line: Wire, tmp_path: Path) -> None:
    """Nobody but the partner hears the credentials, and trying again would not help."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_greet, args=(listener, context))
        thread.start()
        error = _failure(line, f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert type(error) is RefusedError
    assert "certificate" in str(error)


def test_a_broken_handshake_is_temporary(serve: type[RawServer], line: Wire) -> None:
    """What speaks no TLS may speak it later."""
    url = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n").url.replace("http:", "https:")
    assert type(_failure(line, url)) is TemporaryPartnerError


def test_the_log_holds_no_address(
    serve: type[RawServer], line: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """The HTTP library would write whole addresses; a proof in one is a secret."""
    with caplog.at_level(logging.DEBUG):
        _get(line, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").url)
        _get(line, serve(b"HTTP/1.1 200 OK\r\nContent-Le").url)  # worth a warning with the URL
    assert CANARY not in caplog.text


def test_a_proxy_is_looked_up_once(
    serve: type[RawServer], line: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's proxy is used, and not searched for with every request."""
    proxy = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    _get(line, "http://partner.example")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    _get(line, "http://partner.example")
    assert len(proxy.heard) == 2


def test_no_other_credentials_are_taken(
    serve: type[RawServer], line: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A .netrc on the machine does not replace the destination's credentials."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    _get(line, server.url)
    assert f"Authorization: Bearer {CANARY}".encode() in server.heard[0]


def test_connections_are_kept_and_never_pickled(serve: type[RawServer], line: Wire) -> None:
    """A copy opens connections of its own."""
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    _get(line, server.url)
    clone = pickle.loads(pickle.dumps(line))  # noqa: S301 - our own object
    assert _get(clone, server.url).status == 200
    clone.close()


def _greet(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with connection:
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            return  # the client hangs up when it sees the certificate


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "partner.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    written = folder / "partner.pem"
    written.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return written
