"""Encrypted files of numpy columns: AES-256-GCM blocks with an encrypted index at the end (L10).

    file   := magic, salt (16), length of key name (1), key name, block*, index, length of index (8)
    block  := AES-GCM(key of the file, nonce = number of the block, bytes of the array)
    index  := AES-GCM(length of columns (4), columns as JSON, a record of 14 bytes for each block)

The key of a file is derived from the state key, the file's own salt and its path, so block numbers
can be nonces, and a file is of use only where it was written. Whoever cuts, swaps or changes a
block or exchanges whole files is found out when it is read.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
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
    """State keys by name: the current one encrypts, all of them decrypt. Never prints a key."""

    current: str
    keys: Mapping[str, bytes] = field(repr=False)

    def derive(self, name: str, salt: bytes, path: str) -> AESGCM:
        """The key of one file at its place."""
        if name not in self.keys:
            raise StateError(
                f"the state was written with the key {name!r}, which is not in "
                "AUDIENCE_SYNC_STATE_KEYS; add it, or point AUDIENCE_SYNC_STATE_URL elsewhere"
            )
        place = b"audience-sync sealed file 2 " + path.encode()
        hkdf = HKDF(SHA256(), 32, salt, place)
        return AESGCM(hkdf.derive(self.keys[name]))


class SealedWriter:
    """Writes blocks of a sealed file, one thread at a time; `close` writes the index.

    The file can be read under this path only.
    """

    def __init__(self, file: BinaryIO, path: str, keyring: Keyring) -> None:
        salt = os.urandom(_SALT)
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

    def close(self) -> str:
        """Write the index, without which the file cannot be read; the file's fingerprint."""
        columns = orjson.dumps(list(self._columns))
        records = np.zeros(len(self._index[0]), dtype=_RECORD)
        for name, values in zip(_RECORD.names or (), self._index, strict=True):
            records[name] = values
        index = len(columns).to_bytes(_COUNT, "big") + columns + records.tobytes()
        sealed = self._seal(_INDEX, index)
        self._file.write(sealed + len(sealed).to_bytes(_LENGTH, "big"))
        return sha256(sealed).hexdigest()

    def _seal(self, number: int, plain: Any) -> bytes:
        return self._cipher.encrypt(number.to_bytes(12, "big"), plain, None)


class SealedReader:
    """Reads columns of a sealed file by group; safe from several threads."""

    def __init__(self, location: StateLocation, path: str, keyring: Keyring) -> None:
        self._location = location
        self._path = path
        size = location.size(path)
        head = location.read(path, 0, min(size, len(_MAGIC) + _SALT + 256))
        if head[: len(_MAGIC)] != _MAGIC or size < len(_MAGIC) + _SALT + _LENGTH:
            raise self._damaged()
        at = len(_MAGIC) + _SALT
        name = head[at + 1 : at + 1 + head[at]].decode("utf-8", "replace")
        self._cipher = keyring.derive(name, head[len(_MAGIC) : at], path)
        self._columns, self._index = self._read_index(size)
        ends = at + 1 + head[at] + np.cumsum(self._index["length"], dtype=np.int64)
        self._starts = ends - self._index["length"]
        places = self._places(self._index["group"].astype(np.int64), self._index["column"])
        self._order = np.argsort(places, kind="stable")  # the blocks of a column stay in order
        self._sorted = places[self._order]

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

    def _places(self, group: Any, column: Any) -> Any:
        return group * len(self._columns) + column

    def _read_block(self, number: int) -> bytes:
        start, length = int(self._starts[number]), int(self._index["length"][number])
        return self._open(number, self._location.read(self._path, start, length))

    def _read_index(self, size: int) -> tuple[list[_Column], NDArray[Any]]:
        length = int.from_bytes(self._location.read(self._path, size - _LENGTH, _LENGTH), "big")
        if length > size:
            raise self._damaged()
        sealed = self._location.read(self._path, size - _LENGTH - length, length)
        self.fingerprint = sha256(sealed).hexdigest()
        plain = self._open(_INDEX, sealed)
        end = _COUNT + int.from_bytes(plain[:_COUNT], "big")
        return orjson.loads(plain[_COUNT:end]), np.frombuffer(plain[end:], dtype=_RECORD)

    def _open(self, number: int, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(number.to_bytes(12, "big"), sealed, None)
        except InvalidTag:
            raise self._damaged() from None

    def _damaged(self) -> StateError:
        return StateError(
            f"the state file {self._path} is damaged or was written with another key; "
            "set the right AUDIENCE_SYNC_STATE_KEYS or restore the file from a backup"
        )
