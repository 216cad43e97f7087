"""The outbox of an order run: what is to be reported, encrypted, before anything is sent (L6)."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import polars as pl

from audience_sync.errors import StateError
from audience_sync.membership.frames import get_frame, put_frame
from audience_sync.membership.location import StateLocation
from audience_sync.membership.sealed import Keyring, SealedReader, SealedWriter

_COLUMN = "orders"


def _path(run: str) -> str:
    return f"outbox/{run}/orders.sealed"


class OrderOutboxWriter:
    """Cuts lines, ordered by order, into batches of at most `limit` lines and whole orders."""

    def __init__(self, location: StateLocation, keyring: Keyring, run: str, limit: int) -> None:
        self._limit = limit
        self._place = (location, keyring, run)
        self._open = ExitStack()
        self._writer: SealedWriter | None = None
        self._waiting: list[pl.DataFrame] = []
        self.orders: list[int] = []  # of each batch

    def add(self, lines: pl.DataFrame) -> None:
        """Lines to report; those of one order come together."""
        if lines.height:
            self._waiting.append(lines)
            if sum(part.height for part in self._waiting) > self._limit:
                self._waiting = [self._cut(pl.concat(self._waiting), last=False)]

    def finish(self) -> str:
        """Write what is left; the outbox's fingerprint."""
        if self._waiting:
            self._cut(pl.concat(self._waiting), last=True)
        fingerprint = self._opened().close()
        self._open.close()
        return fingerprint

    def abandon(self) -> None:
        """Stop writing; the file is useless."""
        self._open.close()

    def _cut(self, lines: pl.DataFrame, *, last: bool) -> pl.DataFrame:
        sizes = lines.group_by("of_order", maintain_order=True).len()["len"].to_numpy()
        ends = np.cumsum(sizes)
        at = order = 0
        while order < len(ends) and (last or lines.height - at > self._limit):
            until = max(order + 1, int(np.searchsorted(ends, at + self._limit, side="right")))
            end = int(ends[until - 1])
            put_frame(self._opened(), len(self.orders), _COLUMN, lines[at:end])
            self.orders.append(until - order)
            at, order = end, until
        return lines[at:]

    def _opened(self) -> SealedWriter:
        if self._writer is None:
            location, keyring, run = self._place
            file = self._open.enter_context(location.create(_path(run)))
            self._writer = SealedWriter(file, _path(run), keyring)
        return self._writer


class OrderOutbox:
    """Reads the batches of an order run."""

    def __init__(
        self, location: StateLocation, keyring: Keyring, run: str, fingerprint: str | None
    ) -> None:
        self._run = run
        self._reader = SealedReader(location, _path(run), keyring)
        if self._reader.fingerprint != fingerprint:
            raise StateError(
                f"the outbox of run {run} is not the one that was planned; "
                "cancel the run and plan it again"
            )

    def batch(self, position: int) -> pl.DataFrame:
        """The lines of one batch, with what stands beside them for the ledger."""
        found = get_frame(self._reader, position, _COLUMN)
        if found is None:
            raise StateError(f"the outbox of run {self._run} is damaged; cancel it and plan again")
        return found
