"""A simulated SFTP server for order files: strict about names, layout and what it is told twice."""

from __future__ import annotations

import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
from paramiko.sftp import SFTP_FAILURE, SFTP_NO_SUCH_FILE, SFTP_OK

from audience_sync.sandbox.rakuten.book import Line, OrderBook

FIELDS = 13
LINES = 1_000  # of one file
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(txt|csv)")
_NUMBER = re.compile(r"-?\d{1,12}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_REASON = 12


@dataclass
class FileServer:
    """Files by path, and what became of those that were given their name."""

    book: OrderBook = field(default_factory=OrderBook)
    files: dict[str, bytearray] = field(default_factory=dict, repr=False)
    problems: list[str] = field(default_factory=list)
    username: str = "shop"
    password: str = "secret-of-the-shop"  # noqa: S105 - of a simulated server
    folder: str = "/orders"
    port: int = 0
    host_key: str = ""
    logins: int = 0
    break_at: str | None = None  # "open", "rename" or "renamed": the line is cut there, once

    def settings(self) -> dict[str, Any]:
        """What a destination writes below `sftp:`."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "host_key": self.host_key,
            "username": self.username,
            "password": self.password,
            "folder": self.folder,
        }

    def fetch(self, path: str) -> None:
        """Count a file that has its name, as a whole or not at all."""
        text = bytes(self.files[path]).decode("utf-8")
        name = path.rpartition("/")[2]
        lines = [_line(row) for row in text.splitlines()]
        if not _NAME.fullmatch(name):
            self.problems.append("a file with a strange name")
        elif not text.endswith("\n") or len(lines) > LINES:
            self.problems.append("a file that is cut, or too long")
        elif None in lines:
            self.problems.append(f"line {lines.index(None) + 1} cannot be read")
        else:
            _, bad = self.book.take(lines)
            if bad:
                self.problems.append(f"{bad} lines take back what was never counted")


def _line(row: str) -> Line | None:
    cells = row.split("|")
    if len(cells) != FIELDS:
        return None
    order, click, date, sku, quantity, amount, currency, email, *_ = cells
    read = (order, click, sku)
    numbers = _NUMBER.fullmatch(quantity), _NUMBER.fullmatch(amount)
    if not all(read) or not all(numbers) or not _DATE.fullmatch(date) or email:
        return None
    if not cells[_REASON]:
        return None
    return Line(order, sku, currency, int(quantity), int(amount))


@contextmanager
def running_files(**changes: Any) -> Iterator[FileServer]:
    """A server on a free port, in threads, for as long as the block runs."""
    server = FileServer(**changes)
    key = paramiko.ECDSAKey.generate()
    digest = b64encode(sha256(key.asbytes()).digest()).decode().rstrip("=")
    server.host_key = f"SHA256:{digest}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        open_lines: list[paramiko.Transport] = []
        thread = threading.Thread(
            target=_serve, args=(listener, server, key, open_lines), name="sftp", daemon=True
        )
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for line in open_lines:
                line.close()


def _serve(
    listener: socket.socket,
    server: FileServer,
    key: paramiko.PKey,
    open_lines: list[paramiko.Transport],
) -> None:
    while True:
        try:
            line, _ = listener.accept()
        except OSError:
            return
        transport = paramiko.Transport(line)
        transport.set_log_channel("audience_sync.sandbox.sftp")
        transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, server, transport)
        open_lines.append(transport)
        with suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=_Door(server))


class _Door(paramiko.ServerInterface):
    def __init__(self, server: FileServer) -> None:
        self._server = server

    def check_auth_password(self, username: str, password: str) -> int:
        known = (username, password) == (self._server.username, self._server.password)
        self._server.logins += known
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002 - paramiko's own signature
        if kind == "session":
            return OPEN_SUCCEEDED
        return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED


class _Files(paramiko.SFTPServerInterface):
    def __init__(
        self,
        server: paramiko.ServerInterface,
        files: FileServer,
        transport: paramiko.Transport,
    ) -> None:
        super().__init__(server)
        self._server, self._transport = files, transport

    def stat(self, path: str) -> Any:
        found = paramiko.SFTPAttributes()
        if path.rstrip("/") == self._server.folder:
            found.st_mode = 0o040755
            return found
        if path not in self._server.files:
            return SFTP_NO_SUCH_FILE
        found.st_mode, found.st_size = 0o100644, len(self._server.files[path])
        return found

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:  # noqa: ARG002 - paramiko's own signature
        if self._cut("open"):
            return SFTP_FAILURE
        if path.rpartition("/")[0] != self._server.folder:
            return SFTP_NO_SUCH_FILE
        self._server.files[path] = bytearray()
        return _File(self._server.files[path])

    def rename(self, oldpath: str, newpath: str) -> int:
        if self._cut("rename"):
            return SFTP_FAILURE
        if newpath in self._server.files or oldpath not in self._server.files:
            return SFTP_FAILURE
        self._server.files[newpath] = self._server.files.pop(oldpath)
        self._server.fetch(newpath)
        self._cut("renamed")
        return SFTP_OK

    def _cut(self, moment: str) -> bool:
        if self._server.break_at != moment:
            return False
        self._server.break_at = None
        self._transport.close()
        return True


class _File(paramiko.SFTPHandle):
    def __init__(self, content: bytearray) -> None:
        super().__init__()
        self._content = content

    def write(self, offset: int, data: Any) -> int:
        self._content[offset : offset + len(data)] = data
        return SFTP_OK

    def stat(self) -> Any:
        found = paramiko.SFTPAttributes()
        found.st_mode, found.st_size = 0o100644, len(self._content)
        return found
