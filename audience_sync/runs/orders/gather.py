"""Order lines spread over partitions by customer, so that each meets its customer's judgement."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from audience_sync.customers.orders import OrderSource
from audience_sync.customers.policy import microseconds
from audience_sync.membership.digests import partition_of, present
from audience_sync.membership.frames import FrameSpill
from audience_sync.runs.leases import Held
from audience_sync.runs.progress import Progress
from audience_sync.runs.standing import customer_keys
from audience_sync.runs.targets import Workspace

_CLOCK_TOLERANCE = timedelta(days=1)


@dataclass(frozen=True)
class Gathered:
    """The lines that can be reported at all, and how many cannot."""

    lines: FrameSpill
    rows: int
    drops: Counter[str] = field(default_factory=Counter)


def gather_lines(
    source: OrderSource,
    window: timedelta,
    space: Workspace,
    held: Held,
    now: datetime,
    progress: Progress,
) -> Gathered:
    """One pass over the order lines; older ones than the window are left alone."""
    path = f"{space.folder}/lines.sealed"
    lines = FrameSpill(space.location, path, space.keyring, space.partitions)
    advance = progress.stage("Reading orders", source.count())
    rows, drops = 0, Counter[str]()
    earliest, latest = microseconds(now - window), microseconds(now + _CLOCK_TOLERANCE)
    with closing(source.batches()) as frames:
        for frame in frames:
            held.proceed()
            readable = frame.filter(pl.col("readable") & (pl.col("ordered_at") <= latest))
            recent = readable.filter(pl.col("ordered_at") >= earliest).drop("readable")
            rows += frame.height
            drops["unreadable"] += frame.height - readable.height
            drops["too_old"] += readable.height - recent.height
            if recent.height:
                lines.put(_homes(recent, space.partitions), recent)
            advance(frame.height)
    lines.finish()
    return Gathered(lines, rows, drops)


def _homes(frame: pl.DataFrame, partitions: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The partition of each line's customer; a guest's lines stay together by their order."""
    customers = customer_keys(frame["customer_id"])
    guests = ~present(customers)
    if guests.any():
        customers[guests] = customer_keys(frame["order_id"].filter(pl.Series(guests)))
    return partition_of(customers, partitions)
