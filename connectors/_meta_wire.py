"""What goes to Meta's uploads and what its counts say, as plain values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from audience_sync.connector import Cell, Kind, Members, TemporaryPartnerError, Upload
from connectors._meta_words import whole_number

ROWS = 10_000  # per request
SAMPLES = 100  # bad values that an answer shows at most
COLUMNS = {
    Kind.EMAIL: "EMAIL",
    Kind.PHONE: "PHONE",
    Kind.GAID: "MADID",
    Kind.EXTERNAL_ID: "EXTERN_ID",
}
SINGLE = {
    "EMAIL": "EMAIL_SHA256",
    "PHONE": "PHONE_SHA256",
    "MADID": "MOBILE_ADVERTISER_ID",
    "EXTERN_ID": "EXTERN_ID",
}


class Session(NamedTuple):
    """A place in an upload session; `spare` counts the sessions that replace a finished one."""

    id: int
    sequence: int
    last: bool
    total: int
    spare: int = 0

    @property
    def written(self) -> dict[str, Any]:
        """The session as a request names it."""
        return {
            "session_id": self.id,
            "batch_seq": self.sequence,
            "last_batch_flag": self.last,
            "estimated_num_total": self.total,
        }


class Schema(NamedTuple):
    """What stands in each row beside identifiers: whether Meta may use less of it, and where."""

    limited: bool = False
    place: tuple[int, int] | None = None  # country and state; None: Meta looks

    @property
    def columns(self) -> list[str]:
        """The names of the columns that follow those of the identifiers."""
        name = "DATA_PROCESSING_OPTIONS"
        where = [f"{name}_COUNTRY", f"{name}_STATE"] if self.place else []
        return [name, *where] if self.limited else []

    @property
    def cells(self) -> bytes:
        """Their cells, which are the same in each row."""
        where = b"" if self.place is None else b",%d,%d" % self.place
        return b',["LDU"]' + where if self.limited else b""


def sessions_for(upload: Upload) -> Iterator[Session]:
    """The upload's own place, then whole sessions that depend on nothing but that place."""
    yield Session(upload.session, upload.sequence, upload.last, upload.total)
    spare = 0
    while True:
        spare += 1
        seed = f"{upload.session}/{upload.sequence}/{spare}".encode()
        number = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") >> 1
        yield Session(number or 1, 1, True, upload.total, spare)


def body_of(batch: Members, schema: Schema, session: Session | None) -> bytes:
    """One row a slot: a person with two e-mail addresses is two rows."""
    kinds = [kind for kind in COLUMNS if kind in batch.kinds]
    names = [COLUMNS[kind] for kind in kinds]
    if len(kinds) == 1 and not schema.limited:
        columns = orjson.dumps(SINGLE[names[0]])
        rows = batch.render_slots([Cell(kinds[0])], before=b"", after=b"")
    else:
        columns = orjson.dumps(names + schema.columns)
        cells = [Cell(kind, none=b'""') for kind in kinds]
        rows = batch.render_slots(cells, before=b"[", after=schema.cells + b"]")
    place = b"" if session is None else b'"session":' + orjson.dumps(session.written) + b","
    return b"".join(
        (b"{", place, b'"payload":{"schema":', columns, b',"data":[', rows.body, b"]}}")
    )


def invalid_in(
    found: Mapping[str, Any], batch: Members, session: Session | None
) -> tuple[NDArray[np.int64], int]:
    """Positions of the members whose every row Meta names as bad; how many rows it only counts.

    Meta skips a row and says so in a count and in samples; a member with a good row is held.
    """
    received = whole_number(found.get("num_received"))
    counted = whole_number(found.get("num_invalid_entries"))
    if received is None or counted is None:
        raise TemporaryPartnerError("Meta did not say how many members it received; try again")
    samples = found.get("invalid_entry_samples") or []
    bad = _values(samples)
    used = batch.slots()
    hit = np.zeros_like(used)
    for slot in range(used.shape[1]):
        hit[batch.slot(slot).find(bad), slot] = True
    if session is not None and session.sequence > 1 and len(bad) < SAMPLES:
        counted = int(hit.sum())  # the count is of the whole session, the samples are of this batch
    missing = max(int(used.sum()) - received, 0)
    named = np.flatnonzero((hit | ~used).all(axis=1))
    return named, max(counted - int(hit.sum()), 0) + missing


def _values(samples: Any) -> list[str]:
    """The bad values, whether they come as a map, a list, or rows within either."""
    if isinstance(samples, Mapping):
        samples = list(samples.values())
    if not isinstance(samples, Sequence) or isinstance(samples, str):
        return [str(samples)]
    return [value for sample in samples for value in _values(sample)]
