"""Sorting, matching and filtering 32-byte keys in numpy, without Python objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audience_sync.identifiers.kinds import DIGEST_WIDTH

Bytes = NDArray[np.uint8]  # shape (n, width)
Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAXIMUM_PARTITIONS = 512
ROWS_PER_PARTITION = 150_000  # so that a partition's arrays stay in the tens of megabytes
_FILTER_BITS = 1 << 27  # 16 MiB; at 5 million digests one in 27 strangers passes


def leading(keys: Bytes) -> NDArray[np.uint64]:
    """The first eight bytes of each key as a number that sorts like the key; shape (n,)."""
    if keys.shape[1] % 8 == 0:
        return np.ascontiguousarray(keys).view(">u8")[:, 0].astype(np.uint64)
    return np.ascontiguousarray(keys[:, :8]).view(">u8").ravel().astype(np.uint64)


def rows_at(values: NDArray[Any], at: Positions | Mask | slice) -> NDArray[Any]:
    """Some rows of an array, as `values[at]`, which numpy itself does ten times slower."""
    if isinstance(at, slice):
        return values[at]
    if at.dtype == np.bool_:
        at = np.flatnonzero(at)
    if values.ndim == 2 and values.dtype == np.uint8 and values.shape[1] % 8 == 0:  # noqa: PLR2004 - rows of bytes
        words = np.ascontiguousarray(values).view(np.uint64)
        return words.take(at, axis=0).view(np.uint8)
    return values.take(at, axis=0)


def as_void(values: Bytes) -> NDArray[Any]:
    """Each row as one opaque value that numpy can compare and sort; shape (n,)."""
    return np.ascontiguousarray(values).view(f"V{values.shape[1]}").ravel()


def sort_order(keys: Bytes) -> Positions:
    """The order that sorts the keys bytewise; where equal keys come among themselves is open."""
    first = leading(keys)
    order = np.argsort(first)
    ordered = first[order]
    twins = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twins) and (rows_at(keys, order[twins]) != rows_at(keys, order[twins + 1])).any():
        words = np.ascontiguousarray(keys).view(">u8")
        order = np.lexsort([words[:, i] for i in reversed(range(words.shape[1]))])
    return order


def is_sorted(keys: Bytes) -> bool:
    """Whether the keys are in bytewise order; two that share eight bytes must be equal."""
    first = leading(keys)
    if (first[1:] < first[:-1]).any():
        return False
    twins = np.flatnonzero(first[1:] == first[:-1])
    return not (rows_at(keys, twins) != rows_at(keys, twins + 1)).any()


def starts(keys: Bytes) -> Positions:
    """Where each distinct key begins in sorted keys."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    words = np.ascontiguousarray(keys).view(np.uint64)
    new = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(words[1:, 0], words[:-1, 0], out=new[1:])
    twins = np.flatnonzero(~new)
    if len(twins):
        new[twins] = (words.take(twins, axis=0) != words.take(twins - 1, axis=0)).any(axis=1)
    return np.flatnonzero(new)


def match(keys: Bytes, among: Bytes) -> Positions:
    """For each key its position in `among` (sorted, distinct), or -1."""
    found = np.full(len(keys), -1, dtype=np.int64)
    if not len(among) or not len(keys):
        return found
    first, stored = leading(keys), leading(among)
    place = np.searchsorted(stored, first)
    waiting = np.flatnonzero(place < len(among))
    waiting = waiting[stored[place[waiting]] == first[waiting]]
    while len(waiting):  # more than once only where two keys share eight bytes
        same = (rows_at(keys, waiting) == rows_at(among, place[waiting])).all(axis=1)
        found[waiting[same]] = place[waiting[same]]
        waiting = waiting[~same]
        place[waiting] += 1
        waiting = waiting[place[waiting] < len(among)]
        waiting = waiting[stored[place[waiting]] == first[waiting]]
    return found


def present(values: Bytes) -> Mask:
    """Which rows hold a value at all; all zero means none."""
    if values.dtype != np.uint8 or values.shape[1] % 8:
        return np.asarray(values.any(axis=1), dtype=np.bool_)
    words = np.ascontiguousarray(values).view(np.uint64)
    there: Mask = words[:, 0] != 0
    perhaps = np.flatnonzero(~there)  # hardly ever a value: its first eight bytes would be zero
    if len(perhaps):
        there[perhaps] = words.take(perhaps, axis=0).any(axis=1)
    return there


def partitions_for(rows: int) -> int:
    """How many partitions so many rows are spread over: a power of two."""
    wanted = max(1, -(-rows // ROWS_PER_PARTITION))
    return min(MAXIMUM_PARTITIONS, 1 << (wanted - 1).bit_length())


def partition_of(keys: Bytes, partitions: int) -> NDArray[np.int64]:
    """The partition of each key, by its leading bits, so that partitions are in key order."""
    prefix = keys[:, 0].astype(np.int64) << 8 | keys[:, 1]
    return prefix >> (16 - (partitions.bit_length() - 1))


class DigestFilter:
    """A fixed 16 MiB bitmap, once there is one, that says "surely not" or "perhaps" of a digest."""

    def __init__(self) -> None:
        self._bits = np.zeros(0, dtype=np.uint8)
        self.empty = True

    def add(self, digests: Bytes) -> None:
        """Make these digests pass."""
        if len(digests):
            if self.empty:
                self._bits = np.zeros(_FILTER_BITS // 8, dtype=np.uint8)
            place = self._places(digests)
            np.bitwise_or.at(self._bits, place >> 3, np.uint8(1) << (place & 7).astype(np.uint8))
            self.empty = False

    def passes(self, digests: Bytes) -> Mask:
        """Which digests perhaps were added."""
        if self.empty:
            return np.zeros(len(digests), dtype=np.bool_)
        place = self._places(digests)
        found = self._bits[place >> 3] >> (place & 7).astype(np.uint8) & 1
        return np.asarray(found, dtype=np.bool_)

    @staticmethod
    def _places(digests: Bytes) -> Positions:
        # Bytes 8 to 12: the leading ones are the same within a partition.
        at = min(8, DIGEST_WIDTH - 4)
        words = np.ascontiguousarray(digests[:, at : at + 4]).view(np.uint32).ravel()
        return (words & np.uint32(_FILTER_BITS - 1)).astype(np.int64)
