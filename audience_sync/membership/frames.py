"""Frames with text in sealed files: order lines, which are not made of digests alone (L10)."""

from __future__ import annotations

import io
import threading
from contextlib import ExitStack

import numpy as np
import polars as pl
from numpy.typing import NDArray

from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

_HELD_BACK = 200_000  # rows in memory before all partitions are written out
_PARTITION = "partition:"  # no column is called so


def put_frame(writer: SealedWriter, group: int, column: str, frame: pl.DataFrame) -> None:
    """Write a frame as one block."""
    written = io.BytesIO()
    frame.write_ipc(written)
    writer.write(group, column, np.frombuffer(written.getbuffer(), dtype=np.uint8))


def get_frame(reader: SealedReader, group: int, column: str) -> pl.DataFrame | None:
    """Read a frame that was written by `put_frame`; None where there is none."""
    block = reader.read(group, column)
    return None if block is None else pl.read_ipc(io.BytesIO(block.tobytes()))


class FrameSpill:
    """Rows spread over partitions of one encrypted file; memory does not grow with the rows."""

    def __init__(
        self, location: StateLocation, path: str, keyring: Keyring, partitions: int
    ) -> None:
        self.partitions = partitions
        self._place = (location, path, keyring)
        self._waiting: dict[int, list[pl.DataFrame]] = {}
        self._held = 0
        self._flushes = 0
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._writer: SealedWriter | None = None
        self._reader: SealedReader | None = None

    def put(self, partition: NDArray[np.int64], frame: pl.DataFrame) -> None:
        """Put rows into the partitions named."""
        spread = frame.with_columns(pl.Series(_PARTITION, partition, dtype=pl.Int64))
        parts = spread.partition_by(_PARTITION, as_dict=True, include_key=False)
        with self._lock:
            for (index,), part in parts.items():
                self._waiting.setdefault(index, []).append(part)
            self._held += frame.height
            if self._held >= _HELD_BACK:
                self._flush()

    def finish(self) -> None:
        """No more rows come; what was put in can be read."""
        with self._lock:
            if self._held:
                self._flush()
            if self._writer is not None:
                self._writer.close()
                self._open.close()
                self._reader = SealedReader(*self._place)

    def read(self, partition: int) -> pl.DataFrame | None:
        """The rows of a partition, in the order they came; None where there are none."""
        if self._reader is None:
            return None
        found = [get_frame(self._reader, partition, str(at)) for at in range(self._flushes)]
        parts = [part for part in found if part is not None]
        return pl.concat(parts) if parts else None

    def discard(self) -> None:
        """Forget all rows and delete the file."""
        self._open.close()
        self._waiting = {}
        self._reader = None
        location, path, _ = self._place
        location.delete(path)

    def _flush(self) -> None:
        location, path, keyring = self._place
        if self._writer is None:
            file = self._open.enter_context(location.create(path, durable=False))
            self._writer = SealedWriter(file, path, keyring)
        for index, parts in sorted(self._waiting.items()):
            put_frame(self._writer, index, str(self._flushes), pl.concat(parts))
        self._waiting = {}
        self._held = 0
        self._flushes += 1
