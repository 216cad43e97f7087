"""Encrypted files of numpy columns: AES-256-GCM blocks with an encrypted index at the end (L10).

    file   := magic, salt (16), length of key name (1), key name, block*, index, length of index (8)
    block  := AES-GCM(key of the file, nonce = number of the block, bytes of the array)

The key of a file is derived from the state key, the file's own salt and its path, so block numbers
can be nonces, and a file is of use only where it was written. Whoever cuts, swaps or changes a
block or exchanges whole files is found out when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
_LARGEST_BLOCK = 64 << 20  # bytes; far below what AES-GCM takes in one call


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
        self._index: list[tuple[int, str, int, int, str, Sequence[int]]] = []
        head = _MAGIC + salt + bytes([len(name)]) + name
        file.write(head)
        self._at = len(head)

    def write(self, group: int, column: str, values: NDArray[Any]) -> None:
        """Append one block of a column of a group; blocks of a column are read back as one."""
        rows = max(1, _LARGEST_BLOCK // max(1, values[:1].nbytes))
        for start in range(0, len(values), rows):
            part = np.ascontiguousarray(values[start : start + rows])
            sealed = self._seal(len(self._index), part.reshape(-1).view(np.uint8))
            place = (group, column, self._at, len(sealed), part.dtype.str, part.shape)
            self._file.write(sealed)
            self._index.append(place)
            self._at += len(sealed)

    def close(self) -> str:
        """Write the index, without which the file cannot be read; the file's fingerprint."""
        sealed = self._seal(_INDEX, orjson.dumps(self._index))
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
        self._blocks: dict[tuple[int, str], list[tuple[int, int, int, str, list[int]]]] = {}
        for number, (group, column, *place) in enumerate(self._read_index(size)):
            self._blocks.setdefault((group, column), []).append((number, *place))

    @property
    def groups(self) -> list[int]:
        """The groups that hold anything, in order."""
        return sorted({group for group, _ in self._blocks})

    def columns(self, group: int) -> list[str]:
        """The columns that a group holds."""
        return [column for found, column in self._blocks if found == group]

    def read(self, group: int, column: str) -> NDArray[Any] | None:
        """A column of a group as one array, or None where there is none."""
        parts = [self._read_block(*place) for place in self._blocks.get((group, column), ())]
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read_block(
        self, number: int, start: int, length: int, dtype: str, shape: list[int]
    ) -> NDArray[Any]:
        plain = self._open(number, self._location.read(self._path, start, length))
        return np.frombuffer(plain, dtype=np.dtype(dtype)).reshape(shape)

    def _read_index(self, size: int) -> list[Any]:
        length = int.from_bytes(self._location.read(self._path, size - _LENGTH, _LENGTH), "big")
        if length > size:
            raise self._damaged()
        sealed = self._location.read(self._path, size - _LENGTH - length, length)
        self.fingerprint = sha256(sealed).hexdigest()
        index: list[Any] = orjson.loads(self._open(_INDEX, sealed))
        return index

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
