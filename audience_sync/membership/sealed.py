"""Encrypted files of numpy columns: AES-256-GCM blocks with an encrypted index at the end (L10).

    file   := magic, salt (16), length of key name (1), key name, block*, index, length of index (8)
    block  := AES-GCM(key of the file, nonce = number of the block, bytes of the array)
    index  := AES-GCM(length of columns (4), columns as JSON, a record of 14 bytes for each block)

A copy under another key names the original's fingerprint after its columns.

The key of a file is derived from the state key, the file's own salt and its path, so block numbers
can be nonces, and a file is of use only where it was written. Whoever cuts, swaps or changes a
block or exchanges whole files is found out when it is read.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, BinaryIO

import numpy as np
import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from audience_sync.errors import StateError
from audience_sync.keys import STATE_KEYS
from audience_sync.membership.location import StateLocation

_MAGIC = b"ASSEAL02"
_SALT = 16  # bytes
_LENGTH = 8  # bytes of the index's length at the end
_INDEX = 2**96 - 1  # the index's place among the nonces
_COUNT = 4  # bytes of the length of the columns
_RECORD = np.dtype([("group", "<u4"), ("column", "<u2"), ("rows", "<u4"), ("length", "<u4")])
_LARGEST_BLOCK = 64 << 20  # bytes; far below what AES-GCM takes in one call

_Column = tuple[str, str, tuple[int, ...]]  # name, type, shape of a row


@dataclass(frozen=True)
class Keyring:
    """State keys by name: the current one encrypts, all of them decrypt. Never prints a key.

    Keys may be rotated while a process runs: `renewed` tells them as they are now.
    """

    current: str
    keys: Mapping[str, bytes] = field(repr=False)
    renewed: Callable[[], Keyring] | None = field(default=None, repr=False, compare=False)
    origin: str = field(default=STATE_KEYS, compare=False)  # the variable or file, for errors

    def now(self) -> Keyring:
        """The keys as they are now."""
        return self if self.renewed is None else self.renewed()

    def derive(self, name: str, salt: bytes, path: str) -> AESGCM:
        """The key of one file at its place."""
        keys = self.keys if name in self.keys else self.now().keys
        if name not in keys:
            raise StateError(
                f"the state was written with the key {name!r}, which is not in {self.origin}; "
                "add it, or point AUDIENCE_SYNC_STATE_URL elsewhere"
            )
        place = b"audience-sync sealed file 2 " + path.encode()
        hkdf = HKDF(SHA256(), 32, salt, place)
        return AESGCM(hkdf.derive(keys[name]))


class SealedWriter:
    """Writes blocks of a sealed file, one thread at a time; `close` writes the index.

    The file can be read under this path only.
    """

    def __init__(self, file: BinaryIO, path: str, keyring: Keyring) -> None:
        salt = os.urandom(_SALT)
        keyring = keyring.now()
        name = keyring.current.encode()
        self._file = file
        self._cipher = keyring.derive(keyring.current, salt, path)
        self._columns: dict[_Column, int] = {}
        # Group, column, rows and bytes of each block; there may be millions of them.
        self._index = array("I"), array("H"), array("I"), array("I")
        head = _MAGIC + salt + bytes([len(name)]) + name
        file.write(head)

    def write(self, group: int, column: str, values: NDArray[Any]) -> None:
        """Append one block of a column of a group; blocks of a column are read back as one."""
        rows = max(1, _LARGEST_BLOCK // max(1, values[:1].nbytes))
        for start in range(0, len(values), rows):
            part = np.ascontiguousarray(values[start : start + rows])
            sealed = self._seal(len(self._index[0]), part.reshape(-1).view(np.uint8))
            kind = (column, part.dtype.str, part.shape[1:])
            number = self._columns.setdefault(kind, len(self._columns))
            self._file.write(sealed)
            for field_, value in zip(
                self._index, (group, number, len(part), len(sealed)), strict=True
            ):
                field_.append(value)

    def close(self, fingerprint: str | None = None) -> str:
        """Write the index, without which the file cannot be read; the file's fingerprint.

        A copy of another file may keep that one's `fingerprint`.
        """
        columns = orjson.dumps([*self._columns, *([] if fingerprint is None else [fingerprint])])
        records = np.zeros(len(self._index[0]), dtype=_RECORD)
        for name, values in zip(_RECORD.names or (), self._index, strict=True):
            records[name] = values
        index = len(columns).to_bytes(_COUNT, "big") + columns + records.tobytes()
        sealed = self._seal(_INDEX, index)
        self._file.write(sealed + len(sealed).to_bytes(_LENGTH, "big"))
        return sha256(sealed).hexdigest() if fingerprint is None else fingerprint

    def _seal(self, number: int, plain: Any) -> bytes:
        return self._cipher.encrypt(number.to_bytes(12, "big"), plain, None)


@dataclass(frozen=True)
class _Opened:
    """A file as it was found: its own key, and where its blocks are."""

    key: str
    salt: bytes
    cipher: AESGCM = field(repr=False)
    columns: list[_Column]
    index: NDArray[Any]
    starts: NDArray[np.int64]
    fingerprint: str


class SealedReader:
    """Reads columns of a sealed file by group; safe from several threads.

    Meanwhile the file may be written anew under another key.
    """

    def __init__(self, location: StateLocation, path: str, keyring: Keyring) -> None:
        self._location = location
        self._path = path
        self._keyring = keyring
        self._opened = self._open_file()
        self.fingerprint = self._opened.fingerprint
        self._columns, self._index = self._opened.columns, self._opened.index
        places = self._places(self._index["group"].astype(np.int64), self._index["column"])
        self._order = np.argsort(places, kind="stable")  # the blocks of a column stay in order
        self._sorted = places[self._order]

    @property
    def key(self) -> str:
        """The name of the key that the file was written with."""
        return self._opened.key

    @property
    def groups(self) -> list[int]:
        """The groups that hold anything, in order."""
        found: list[int] = np.unique(self._index["group"]).tolist()
        return found

    def read(self, group: int, column: str) -> NDArray[Any] | None:
        """A column of a group as one array, or None where there is none."""
        parts = []
        for number, (name, dtype, shape) in enumerate(self._columns):
            if name == column:
                place = self._places(group, number)
                first, last = np.searchsorted(self._sorted, [place, place + 1])
                for block in self._order[first:last].tolist():
                    plain = self._read_block(block)
                    rows = int(self._index["rows"][block])
                    parts.append(np.frombuffer(plain, np.dtype(dtype)).reshape(rows, *shape))
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def blocks(self) -> Iterator[tuple[int, str, NDArray[Any]]]:
        """Every block as it was written: group, column, values."""
        for block in range(len(self._index)):
            name, dtype, shape = self._columns[int(self._index["column"][block])]
            values = np.frombuffer(self._read_block(block), np.dtype(dtype))
            rows = int(self._index["rows"][block])
            yield int(self._index["group"][block]), name, values.reshape(rows, *shape)

    def _places(self, group: Any, column: Any) -> Any:
        return group * len(self._columns) + column

    def _read_block(self, number: int) -> bytes:
        opened = self._opened
        try:
            return self._block_of(opened, number)
        except StateError:
            again = self._open_file()  # its error is as good as the one at hand
            if again.salt == opened.salt or again.fingerprint != self.fingerprint:
                raise
        self._opened = again
        return self._block_of(again, number)

    def _block_of(self, opened: _Opened, number: int) -> bytes:
        start, length = int(opened.starts[number]), int(self._index["length"][number])
        return self._open(opened.cipher, number, self._location.read(self._path, start, length))

    def _open_file(self) -> _Opened:
        location, path = self._location, self._path
        size = location.size(path)
        head = location.read(path, 0, min(size, len(_MAGIC) + _SALT + 256))
        if head[: len(_MAGIC)] != _MAGIC or size < len(_MAGIC) + _SALT + _LENGTH:
            raise self._damaged()
        at = len(_MAGIC) + _SALT
        name = head[at + 1 : at + 1 + head[at]].decode("utf-8", "replace")
        salt = head[len(_MAGIC) : at]
        cipher = self._keyring.derive(name, salt, path)
        columns, index, fingerprint = self._read_index(cipher, size)
        ends = at + 1 + head[at] + np.cumsum(index["length"], dtype=np.int64)
        return _Opened(name, salt, cipher, columns, index, ends - index["length"], fingerprint)

    def _read_index(self, cipher: AESGCM, size: int) -> tuple[list[_Column], NDArray[Any], str]:
        length = int.from_bytes(self._location.read(self._path, size - _LENGTH, _LENGTH), "big")
        if length > size:
            raise self._damaged()
        sealed = self._location.read(self._path, size - _LENGTH - length, length)
        plain = self._open(cipher, _INDEX, sealed)
        end = _COUNT + int.from_bytes(plain[:_COUNT], "big")
        columns = orjson.loads(plain[_COUNT:end])
        kept = columns.pop() if columns and isinstance(columns[-1], str) else None
        fingerprint = sha256(sealed).hexdigest() if kept is None else kept
        return columns, np.frombuffer(plain[end:], dtype=_RECORD), fingerprint

    def _open(self, cipher: AESGCM, number: int, sealed: bytes) -> bytes:
        try:
            return cipher.decrypt(number.to_bytes(12, "big"), sealed, None)
        except InvalidTag:
            raise self._damaged() from None

    def _damaged(self) -> StateError:
        return StateError(
            f"the state file {self._path} is damaged or was written with another key; "
            f"put the right keys into {self._keyring.origin} or restore the file from a backup"
        )


def key_of(location: StateLocation, path: str) -> str | None:
    """The name of the key that a file was written with; None where it is no sealed file."""
    try:
        head = location.read(path, 0, len(_MAGIC) + _SALT + 256)
    except StateError:
        return None
    at = len(_MAGIC) + _SALT
    if head[: len(_MAGIC)] != _MAGIC or len(head) <= at:
        return None
    return head[at + 1 : at + 1 + head[at]].decode("utf-8", "replace")


def write_anew(location: StateLocation, path: str, keyring: Keyring) -> None:
    """Write a file anew under the current key, in place of itself, whole or not at all.

    Its contents and its fingerprint stay. StateError where another version took its place
    meanwhile.
    """
    reader = SealedReader(location, path, keyring)
    with location.create(path) as file:
        writer = SealedWriter(file, path, keyring)
        for group, column, values in reader.blocks():
            writer.write(group, column, values)
        writer.close(reader.fingerprint)
        if SealedReader(location, path, keyring).fingerprint != reader.fingerprint:
            raise StateError(f"the state file {path} was changed meanwhile; run again")
