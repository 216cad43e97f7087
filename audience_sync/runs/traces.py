"""What a run took off a list is remembered as keyed fingerprints, for those who ask later.

The key serves this purpose alone and differs by destination, so that the ledger by itself neither
names anybody nor brings two destinations together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars_hash as plh
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from audience_sync.identifiers.kinds import DIGEST_WIDTH
from audience_sync.ledger.ledger import Ledger
from audience_sync.ledger.records.runs import Run
from audience_sync.ledger.traces import WIDTH, Prints
from audience_sync.membership.digests import Bytes, present, rows_at
from audience_sync.membership.lines import Lines
from audience_sync.period import Period
from audience_sync.runs.suppression import hexes, unhexed

# These begin the names of what was not a run's: because of their own withdrawal, or of others'.
OF_WITHDRAWALS = "withdrawal from "
EMPTIED_FOR_OTHERS = "emptied for withdrawals from "
DELETED_FOR_OTHERS = "deleted for withdrawals from "


@dataclass(frozen=True)
class Leavers:
    """Writes down who left; each identity, and each identifier that was sent, by itself."""

    ledger: Ledger
    key: bytes = field(repr=False)
    now: Callable[[], datetime]
    kept: Period

    def note(self, run: Run, removed: Iterable[Lines]) -> None:
        """Remember what a run took off its list; told again, it is remembered once."""
        self.note_as(run.id, run.audience, run.destination, removed)

    def note_as(self, run: str, audience: str, destination: str, removed: Iterable[Lines]) -> None:
        """The same, under a name that is not a run's."""
        key = trace_key(self.key, destination)
        prints: list[Prints] = [np.zeros((0, WIDTH), dtype=np.uint8)]
        since = [np.zeros(0, dtype=np.uint32)]
        for lines in removed:
            for values in (lines.keys, *lines.columns.values()):
                there = np.flatnonzero(present(values))
                if len(there):
                    prints.append(trace_prints(rows_at(values, there), key))
                    since.append(lines.since[there])
        if len(prints) > 1:
            now = self.now()
            until = self.kept.after(now)
            found = np.concatenate(prints), np.concatenate(since)
            self.ledger.remember_traces(run, audience, destination, *found, now, until)


def trace_key(fingerprint_key: bytes, destination: str) -> str:
    """The key of one destination's traces, in hex as the columnar HMAC takes it."""
    info = f"audience-sync traces 1: {destination}".encode()
    return HKDF(SHA256(), 32, None, info).derive(fingerprint_key).hex()


def trace_prints(values: Bytes, key: str) -> Prints:
    """HMAC-SHA256 of each value written in hex, cut to 16 bytes; any width."""
    if not len(values):
        return np.zeros((0, WIDTH), dtype=np.uint8)
    if values.shape[1] != DIGEST_WIDTH:  # as wide as a digest, however it was written once
        values = np.pad(values, ((0, 0), (0, DIGEST_WIDTH - values.shape[1])))
    keyed = plh.col("value").chash.hmac_sha256(key=key)
    return unhexed(hexes(values).alias("value").to_frame().select(keyed).to_series())[:, :WIDTH]


def prints_of(values: Bytes, keys: Sequence[bytes], destination: str) -> Prints:
    """The fingerprints of some values under the key at hand and the older ones."""
    return np.concatenate([trace_prints(values, trace_key(key, destination)) for key in keys])
