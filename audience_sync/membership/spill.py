"""Columns on their way from one stage to the next: kept by partition, encrypted on the disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audience_sync.membership.digests import Bytes, partition_of, rows_at
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

Columns = Mapping[str, NDArray[Any]]

# Bytes gathered before blocks are written: of many partitions more, since every block costs.
_HELD_BACK = 8 << 20
_HELD_BACK_EACH = 128 << 10  # for each partition


class Kept(Protocol):
    """Rows that can be read by partition."""

    partitions: int
    rows: int

    def read(self, partition: int, column: str) -> NDArray[Any] | None:
        """A column of a partition; None where there are no rows."""
        ...


class Spill:
    """Rows put in by any thread come out by partition of a key, once `finish` was called.

    All rows must bring the same columns. The memory needed does not depend on the rows.
    """

    def __init__(
        self, location: StateLocation, path: str, keyring: Keyring, partitions: int
    ) -> None:
        self.partitions = partitions
        self.rows = 0
        self._place = (location, path, keyring)
        self._waiting: list[dict[str, list[NDArray[Any]]]] = [{} for _ in range(partitions)]
        self._held = 0
        self._limit = max(_HELD_BACK, partitions * _HELD_BACK_EACH)
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._writer: SealedWriter | None = None
        self._reader: SealedReader | None = None

    def put(self, keys: Bytes, columns: Columns) -> None:
        """Put rows in, each into the partition of its key; shape of each column (n, …)."""
        if not len(keys):
            return
        self.put_at(partition_of(keys, self.partitions), columns)

    def put_at(self, partition: NDArray[np.int64], columns: Columns) -> None:
        """Put rows into the partitions named."""
        order = np.argsort(partition.astype(np.uint16), kind="stable")
        edges = np.searchsorted(partition[order], np.arange(self.partitions + 1))
        ordered = {name: rows_at(column, order) for name, column in columns.items()}
        used = np.flatnonzero(edges[1:] > edges[:-1]).tolist()
        with self._lock:
            for index in used:
                at = slice(edges[index], edges[index + 1])
                for name, column in ordered.items():
                    self._waiting[index].setdefault(name, []).append(column[at])
            self.rows += len(order)
            self._held += sum(column.nbytes for column in ordered.values())
            if self._held >= self._limit:
                self._flush()

    def finish(self) -> None:
        """No more rows come; what was put in can be read."""
        with self._lock:
            if self._writer is None and self._held == 0:
                return
            self._flush()
            if self._writer is not None:
                self._writer.close()
            self._open.close()
            self._reader = SealedReader(*self._place)

    def read(self, partition: int, column: str) -> NDArray[Any] | None:
        """A column of a partition, rows in the order they came; None where there are no rows."""
        return None if self._reader is None else self._reader.read(partition, column)

    def discard(self) -> None:
        """Forget all rows and delete the file, where there is one: a store is asked for each."""
        self._open.close()
        self._waiting = []
        self._reader = None
        if self._writer is not None:
            self._writer = None
            location, path, _ = self._place
            location.delete(path)

    def _flush(self) -> None:
        if self._writer is None:
            location, path, keyring = self._place
            self._writer = SealedWriter(
                self._open.enter_context(location.create(path, durable=False)), path, keyring
            )
        # All of them: what waits are views, and one of them keeps the whole batch in memory.
        for index, columns in enumerate(self._waiting):
            for name, parts in columns.items():
                self._writer.write(index, name, np.concatenate(parts))
            columns.clear()
        self._held = 0


class Gathered:
    """The rows of several finished spills as one, in the order of their paths."""

    def __init__(
        self,
        location: StateLocation,
        paths: Sequence[str],
        keyring: Keyring,
        partitions: int,
        rows: int,
    ) -> None:
        self.partitions = partitions
        self.rows = rows
        self._readers = [SealedReader(location, path, keyring) for path in paths]

    def read(self, partition: int, column: str) -> NDArray[Any] | None:
        """A column of a partition, rows in the order they came; None where there are no rows."""
        parts = [
            found for one in self._readers if (found := one.read(partition, column)) is not None
        ]
        if len(parts) <= 1:
            return parts[0] if parts else None
        return np.concatenate(parts)
