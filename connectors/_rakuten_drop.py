"""Rakuten's order files: their layout, and the SFTP server that takes them.

Host, folder, names and columns are contract documents; the defaults are the 13 fields of the
LinkShare help pages (Japan). A file is written aside and renamed when it is whole.
"""

from __future__ import annotations

import io
import logging
import socket
import stat
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Literal, Self

import paramiko
from pydantic import BaseModel, ConfigDict, Field, model_validator

from audience_sync.connector import (
    AuthenticationError,
    OrderCell,
    Orders,
    RefusedError,
    SecretStr,
    TemporaryPartnerError,
    UnreachedError,
)

PATIENCE = 30.0  # seconds for the connection, and for each answer
FIELDS = {
    name: OrderCell(name)
    for name in (
        *("order_id", "customer", "customer_status", "click_id", "currency", "change", "sku"),
        *("name", "quantity", "reason"),
    )
}
LAYOUT = (
    *("order_id", "click_id", "date", "sku", "quantity", "amount", "currency"),
    *("empty", "empty", "empty", "name", "empty", "reason"),  # no e-mail, payment, zip, member
)
ANOTHER_KEY = (
    "the SFTP server shows another key than host_key, so nothing was sent; ask Rakuten why before "
    "you change it"
)
NO_LOGIN = "the SFTP server does not accept the user; check username, password and private_key"
UNREACHED = "Rakuten's SFTP server cannot be used now; nothing was sent, try again later"
NO_RENAME = (
    "the SFTP server does not let files be renamed in this folder, so nothing was sent; ask "
    "Rakuten for the right"
)
NO_FOLDER = "the SFTP server does not take files in this folder; check folder and its permissions"
BROKEN_OFF = "the connection broke off while the file got its name; nobody knows whether it did"

_log = logging.getLogger("connectors.rakuten.sftp")
_log.setLevel(logging.CRITICAL + 1)  # the library writes whole tracebacks for a broken connection


class DropSettings(BaseModel):
    """The server that takes order files, and how they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int = Field(22, ge=1, le=65535)
    # SHA-256 of the server's key, as `ssh-keyscan HOST | ssh-keygen -lf -` prints it.
    host_key: str = Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}=?$")
    username: str
    password: SecretStr | None = None
    private_key: SecretStr | None = None  # the text of a key file without a passphrase
    folder: str = "."
    file_name: str = Field("orders_{merchant_id}_{name}.txt", pattern=r"^[^/]*\{name\}[^/]*$")
    delimiter: str = Field("|", min_length=1, max_length=1)
    encoding: Literal["utf-8", "shift_jis"] = "utf-8"
    date_form: str = "%Y-%m-%d"
    amounts: Literal["minor", "major"] = "minor"
    fields: tuple[str, ...] = LAYOUT
    header: bool = False
    reason_of_sales: str = "order"  # in the field of the reason, which the help pages require
    lines_per_file: int = Field(1_000, ge=1)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        known = {*FIELDS, "date", "amount", "merchant_id", "empty"}
        unknown = sorted(set(self.fields) - known)
        if unknown:
            raise ValueError(f"fields may be {', '.join(sorted(known))}; not {unknown[0]}")
        if self.delimiter in self.reason_of_sales or not self.reason_of_sales.isprintable():
            raise ValueError("reason_of_sales is one word or more, without the delimiter")
        if self.password is None and self.private_key is None:
            raise ValueError("write password: or private_key:, by reference")
        return self


@dataclass(frozen=True)
class Drop:
    """One server for files; every use is a connection of its own."""

    settings: DropSettings
    merchant_id: str

    def look(self) -> None:
        """Log in and see that the folder is there."""
        with self._connected() as server, _explained():
            if not stat.S_ISDIR(server.stat(self.settings.folder).st_mode or 0):
                raise RefusedError(NO_FOLDER)

    def put(self, orders: Orders) -> None:
        """Write the file aside and give it its name; one that has it already is left alone."""
        content, name = self.write(orders), self._path(orders)
        with self._connected() as server:
            with _explained():
                if _there(server, name):
                    return
                aside = self._aside(orders)
                with server.open(aside, "wb") as file:
                    file.write(content)
                if server.stat(aside).st_size != len(content):
                    raise UnreachedError(UNREACHED)
            try:
                server.rename(aside, name)
            except PermissionError:
                raise RefusedError(NO_RENAME) from None
            except (OSError, EOFError, paramiko.SSHException):
                raise TemporaryPartnerError(BROKEN_OFF) from None

    def arrived(self, orders: Orders) -> bool | None:
        """Whether a file has its name; None where it is gone, since it may have been fetched."""
        with self._connected() as server, _explained():
            if _there(server, self._path(orders)):
                return True
            return False if _there(server, self._aside(orders)) else None

    def write(self, orders: Orders) -> bytes:
        """The file's bytes; letters that the encoding lacks become question marks."""
        settings = self.settings
        cells = [self._cell(name) for name in settings.fields]
        text = orders.render(cells, separator=settings.delimiter)
        if settings.header:
            text = settings.delimiter.join(settings.fields) + "\n" + text
        return text.encode(settings.encoding, "replace")

    def _cell(self, name: str) -> OrderCell:
        if name == "date":
            return OrderCell("ordered_at", moment=self.settings.date_form)
        if name == "amount":
            return OrderCell("amount", major=self.settings.amounts == "major")
        if name == "merchant_id":
            return OrderCell(fixed=self.merchant_id)
        if name == "reason":
            return OrderCell("reason", fixed=self.settings.reason_of_sales)
        return FIELDS.get(name, OrderCell())

    def _path(self, orders: Orders) -> str:
        name = self.settings.file_name.replace("{merchant_id}", self.merchant_id)
        return f"{self.settings.folder}/{name.replace('{name}', orders.name)}"

    def _aside(self, orders: Orders) -> str:
        folder, _, name = self._path(orders).rpartition("/")
        return f"{folder}/.{name}.part"

    @contextmanager
    def _connected(self) -> Iterator[paramiko.SFTPClient]:
        settings, key = self.settings, self._own_key()
        try:
            line = socket.create_connection((settings.host, settings.port), PATIENCE)
        except OSError:
            raise UnreachedError(UNREACHED) from None
        transport = paramiko.Transport(line)
        transport.set_log_channel(_log.name)
        try:
            yield self._logged_in(transport, key)
        finally:
            with suppress(Exception):
                transport.close()
            line.close()

    def _logged_in(
        self, transport: paramiko.Transport, key: paramiko.PKey | None
    ) -> paramiko.SFTPClient:
        """The server's key is compared before anything of ours is told."""
        settings = self.settings
        try:
            transport.start_client(timeout=PATIENCE)
            _same_key(transport.get_remote_server_key(), settings.host_key)
            transport.auth_timeout = PATIENCE
            if key is not None:
                transport.auth_publickey(settings.username, key)
            elif settings.password is not None:
                transport.auth_password(settings.username, settings.password.get_secret_value())
            server = paramiko.SFTPClient.from_transport(transport)
        except paramiko.AuthenticationException:
            raise AuthenticationError(NO_LOGIN) from None
        except (OSError, EOFError, paramiko.SSHException):
            raise UnreachedError(UNREACHED) from None
        if server is None:
            raise UnreachedError(UNREACHED)
        server.get_channel().settimeout(PATIENCE)  # type: ignore[union-attr]  # an open client has one
        return server

    def _own_key(self) -> paramiko.PKey | None:
        if self.settings.private_key is None:
            return None
        text = self.settings.private_key.get_secret_value()
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            with suppress(paramiko.SSHException, ValueError):
                return kind.from_private_key(io.StringIO(text))
        raise AuthenticationError(
            "the private_key for Rakuten's SFTP server cannot be read; give an Ed25519, ECDSA or "
            "RSA key without a passphrase"
        )


def _same_key(shown: paramiko.PKey, wanted: str) -> None:
    found = b64encode(sha256(shown.asbytes()).digest()).decode().rstrip("=")
    if not compare_digest(f"SHA256:{found}", wanted.rstrip("=")):
        raise AuthenticationError(ANOTHER_KEY)


def _there(server: paramiko.SFTPClient, path: str) -> bool:
    try:
        server.stat(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _explained() -> Iterator[None]:
    """What goes wrong before a file has its name: nothing arrived."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise RefusedError(NO_FOLDER) from None
    except (OSError, EOFError, paramiko.SSHException):
        raise UnreachedError(UNREACHED) from None
