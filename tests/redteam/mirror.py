"""Stands before the partners, notes what they are sent, and repeats it in errors when asked."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

_KEYS = (
    *("message", "code", "type", "error_user_title", "error_user_msg", "error_subcode", "title"),
    *("fbtrace_id", "status", "error_code", "debug_message", "display_message", "request_id"),
    *("request_status", "reason", "detail", "parameter", "attribute", "name", "error_description"),
)
_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "date", "server"}


class Mirror:
    """What was sent, what tokens were given, and whether requests come back as errors."""

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url).netloc
        self.sent: list[bytes] = []
        self.tokens: set[str] = set()
        self.echo: int | None = None  # the status of an answer that says all that was sent
        self.repeated = 0

    def learn(self, body: bytes) -> None:
        """Note the tokens that a partner gives."""
        with suppress(ValueError, AttributeError):
            told = json.loads(body)
            found = (told.get(name) for name in ("access_token", "refresh_token"))
            self.tokens |= {token for token in found if isinstance(token, str)}

    def error(self, sent: str) -> bytes:
        """What was sent, in each field of an error that any partner's answer has."""
        told: dict[str, Any] = dict.fromkeys(_KEYS, sent)
        told["details"] = [{**told, "@type": sent, "fieldViolations": [dict(told)]}]
        several = [dict(told)]
        return json.dumps(
            {**told, "error": told, "errors": several, "operation_errors": several,
             "rejected": [{"index": 0, "code": sent}], "data": told}
        ).encode()  # fmt: skip


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        plain = body
        with suppress(OSError, EOFError):
            plain = gzip.decompress(body)
        head = f"{self.command} {unquote(self.path)}\n{self.path}\n{self.headers}"
        sent = head.encode() + plain
        mirror = self.mirror
        mirror.sent.append(sent)
        if mirror.echo is not None:
            mirror.repeated += 1
            told = mirror.error(sent.decode("latin-1")[:20_000])
            self._answer(mirror.echo, told, {"Content-Type": "application/json"})
            return
        connection = http.client.HTTPConnection(mirror.place, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            told, headers = answer.read(), dict(answer.getheaders())
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # the partner closed it, so do we
            return
        finally:
            connection.close()
        mirror.learn(told)
        self._answer(answer.status, told, headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *_words: Any) -> None:
        """Say nothing: the partner's own log is not ours."""


@contextmanager
def mirrored(url: str) -> Iterator[tuple[Mirror, str]]:
    """A mirror before the partners at this address, and its own."""
    mirror = Mirror(url)
    door = type("Door", (_Door,), {"mirror": mirror})
    server = ThreadingHTTPServer(("127.0.0.1", 0), door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield mirror, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
