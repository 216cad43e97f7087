"""Members that a partner rejected by name are remembered as keyed fingerprints only (L9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock

import numpy as np
import polars as pl
import polars_hash as plh
from numpy.typing import NDArray

from audience_sync.identifiers.kinds import DIGEST_WIDTH, Kind
from audience_sync.ledger.ledger import Ledger
from audience_sync.members import text
from audience_sync.membership.digests import Bytes, match
from audience_sync.membership.lines import Lines

REMEMBERED_FOR = timedelta(days=30)
_BLOCK = 64  # bytes, SHA-256's own


@dataclass(frozen=True)
class Suppression:
    """Knows rejected members again for a while, without knowing who they are.

    A destination's fingerprints are read once, when it is asked about first.
    """

    ledger: Ledger
    key: bytes = field(repr=False)
    now: Callable[[], datetime]
    _known: dict[str, Bytes] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def suppressed(self, destination: str, lines: Lines) -> NDArray[np.bool_]:
        """Which lines the destination rejected not long ago, exactly as they are."""
        known = self._of(destination)
        if not len(lines) or not len(known):
            return np.zeros(len(lines), dtype=np.bool_)
        return np.asarray(match(fingerprints(lines, self.key), known) >= 0, dtype=np.bool_)

    def _of(self, destination: str) -> Bytes:
        with self._lock:
            if destination not in self._known:
                self._known[destination] = self.ledger.remembered(destination, self.now())
            return self._known[destination]

    def remember(self, destination: str, lines: Lines) -> None:
        """Do not send these lines there again for thirty days."""
        until = self.now() + REMEMBERED_FOR
        self.ledger.remember(destination, fingerprints(lines, self.key), "rejected", until)


def fingerprints(lines: Lines, key: bytes) -> Bytes:
    """HMAC-SHA256 of each line's identity and identifiers, written in hex; shape (n, 32)."""
    columns = [lines.keys, *(_padded(lines, kind) for kind in Kind)]
    message = hexes(np.concatenate(columns, axis=1))
    padded = key.ljust(_BLOCK, b"\0")
    # The pads are written in hex like the message, so that the columnar hash sees plain text.
    inner = bytes(byte ^ 0x36 for byte in padded).hex()
    outer = bytes(byte ^ 0x5C for byte in padded).hex()
    hashed = _sha256(pl.lit(inner) + pl.col("message"), message)
    return unhexed(_sha256(pl.lit(outer) + pl.col("message"), hashed))


def _padded(lines: Lines, kind: Kind) -> Bytes:
    """A kind's column in one width, blank where the lines have none: the same for every list."""
    padded = np.zeros((len(lines), DIGEST_WIDTH), dtype=np.uint8)
    values = lines.columns.get(kind)
    if values is not None:
        padded[:, : values.shape[1]] = values
    return padded


def _sha256(expression: pl.Expr, message: pl.Series) -> pl.Series:
    hashed = plh.col("written").chash.sha2_256()
    frame = pl.DataFrame({"message": message}).select(written=expression)
    return frame.select(message=hashed)["message"]


def hexes(values: Bytes) -> pl.Series:
    """Each value written in hex."""
    written = text(values)
    return (
        pl.Series([written.tobytes().decode("ascii")])
        .str.extract_all(f".{{{written.shape[1]}}}")
        .explode()
    )


def unhexed(written: pl.Series) -> Bytes:
    """What digests written in hex are; shape (n, 32)."""
    joined = str(written.str.join("").item())
    return np.frombuffer(bytes.fromhex(joined), dtype=np.uint8).reshape(-1, DIGEST_WIDTH)
