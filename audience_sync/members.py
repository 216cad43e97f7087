"""A batch of members in columns, and fast ways to write it into a request body.

Values are bytes: 32 for a SHA-256 digest, 16 for a raw device ID. All zero means "none". Nothing
here prints a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audience_sync.identifiers.kinds import DEVICE_WIDTH, Kind

Bytes = NDArray[np.uint8]

_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
# Byte → two characters, looked up as one number: nine times as fast as two.
_HEX_PAIRS = np.stack([np.repeat(_HEX, 16), np.tile(_HEX, 16)], axis=1).view(np.uint16)[:, 0]
_UUID_DASHES = (8, 13, 18, 23)
_MAXIMUM_PATTERNS = 62  # cells per row whose presence fits one integer


class Cell(NamedTuple):
    """One identifier's place in a row: the text around it, or the text that stands for none."""

    kind: Kind
    before: bytes = b'"'
    after: bytes = b'"'
    none: bytes | None = None  # None: the cell and its comma are left out


class Rendered(NamedTuple):
    """Rows of a request body joined by commas.

    `positions[i]` is the position in the batch of the member in row i.
    """

    body: bytes
    positions: NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Members:
    """A columnar batch: `values[kind]` has the shape (members, slots, width).

    Most members have one identifier of a kind, in slot 0; further ones follow in further slots.
    """

    values: Mapping[Kind, Bytes]

    def __len__(self) -> int:
        return next((len(column) for column in self.values.values()), 0)

    def __repr__(self) -> str:
        return f"Members({len(self)}: {', '.join(self.values)})"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that this batch has columns for, used or not."""
        return tuple(self.values)

    def has(self, *kinds: Kind) -> NDArray[np.bool_]:
        """Which members have an identifier of any of these kinds; shape (members,)."""
        found = np.zeros(len(self), dtype=np.bool_)
        for kind in kinds:
            if kind in self.values:
                found |= used_slots(self.values[kind]).any(axis=1)
        return found

    def take(self, positions: NDArray[np.int64] | Sequence[int]) -> Members:
        """The members at these positions, in this order."""
        chosen = np.asarray(positions, dtype=np.int64)
        return Members({kind: column[chosen] for kind, column in self.values.items()})

    def merged(self, into: Kind, *others: Kind) -> Members:
        """The same members with kinds of one width in one column, identifiers in front."""
        found = [self.values[kind] for kind in (into, *others) if kind in self.values]
        if not found:
            return self
        together = np.concatenate(found, axis=1)
        order = np.argsort(~used_slots(together), axis=1, kind="stable")
        packed = np.take_along_axis(together, order[:, :, None], axis=1)
        used = max(1, int(used_slots(packed).any(axis=0).sum()))
        kept = {kind: column for kind, column in self.values.items() if kind not in (into, *others)}
        return Members(kept | {into: packed[:, :used]})

    def slots(self) -> NDArray[np.bool_]:
        """Which slots each member uses for any kind; shape (members, most slots of a kind)."""
        deepest = max((column.shape[1] for column in self.values.values()), default=0)
        used = np.zeros((len(self), deepest), dtype=np.bool_)
        for column in self.values.values():
            used[:, : column.shape[1]] |= used_slots(column)
        return used

    def parts(self, rows: int) -> list[NDArray[np.int64]]:
        """Positions of the members that have anything, cut so that no part has more rows than this.

        Rows as `render_slots` writes them; a member with more rows is a part of its own.
        """
        counts = self.slots().sum(axis=1) if self.values else np.zeros(0, dtype=np.int64)
        places = np.flatnonzero(counts)
        written = np.cumsum(counts[places])
        found, start, done = [], 0, 0
        while start < len(places):
            end = int(np.searchsorted(written, done + rows, side="right"))
            end = max(end, start + 1)
            found.append(places[start:end])
            start, done = end, int(written[end - 1])
        return found

    def slot(self, number: int) -> Members:
        """Only one slot of every kind that has it."""
        return Members(
            {
                kind: column[:, number : number + 1]
                for kind, column in self.values.items()
                if number < column.shape[1]
            }
        )

    def only(self, *kinds: Kind) -> Members:
        """The same members with no other kinds than these."""
        return Members({kind: column for kind, column in self.values.items() if kind in kinds})

    def column(self, kind: Kind, slot: int = 0) -> list[str]:
        """One slot of a kind as text, "" for none: 64 lower-case hex digits, or a device ID."""
        if kind not in self.values or slot >= self.values[kind].shape[1]:
            return [""] * len(self)
        values = self.values[kind][:, slot]
        written = text(values)
        width = written.shape[1]
        joined = written.tobytes().decode("ascii")
        present: list[bool] = used_slots(values).tolist()
        return [
            joined[i * width : (i + 1) * width] if there else "" for i, there in enumerate(present)
        ]

    def rows(self, kinds: Sequence[Kind]) -> list[list[str]]:
        """Rows of text, one cell a kind; a further row for each further slot in use."""
        rows = []
        for slot in range(max((v.shape[1] for v in self.values.values()), default=0)):
            columns = [self.column(kind, slot) for kind in kinds]
            rows += [list(row) for row in zip(*columns, strict=True) if any(row)]
        return rows

    def render(self, cells: Sequence[Cell], *, before: bytes, after: bytes) -> Rendered:
        """Write one row a member; every slot of a kind gets a cell, absent ones are left out."""
        wide = [
            (cell, self.values[cell.kind][:, slot])
            for cell in cells
            if cell.kind in self.values
            for slot in range(self.values[cell.kind].shape[1])
        ]
        return _render(wide, np.arange(len(self)), before, after)

    def render_slots(self, cells: Sequence[Cell], *, before: bytes, after: bytes) -> Rendered:
        """Write one row a slot in use, for partners whose rows hold one identifier a kind."""
        parts = []
        for slot in range(max((v.shape[1] for v in self.values.values()), default=0)):
            columns = []
            used = np.zeros(len(self), dtype=np.bool_)
            for cell in cells:
                stored = self.values.get(cell.kind)
                if stored is None or slot >= stored.shape[1]:
                    column = np.zeros((len(self), 1), dtype=np.uint8)
                else:
                    column = stored[:, slot]
                    used |= used_slots(column)
                columns.append((cell, column))
            at = np.flatnonzero(used)
            if len(at):
                if len(at) < len(self):
                    columns = [(cell, column.take(at, axis=0)) for cell, column in columns]
                parts.append(_render(columns, at, before, after))
        if not parts:
            return Rendered(b"", np.zeros(0, dtype=np.int64))
        body = b",".join(part.body for part in parts)
        return Rendered(body, np.concatenate([part.positions for part in parts]))

    def find(self, values: Sequence[str]) -> list[int]:
        """Positions of the members that carry any of these values (as text), in order."""
        found: set[int] = set()
        for column in self.values.values():
            width = column.shape[2]
            wanted = {raw for raw in map(_parse, values) if raw is not None and len(raw) == width}
            if wanted and width:
                keys = np.ascontiguousarray(column).view(f"V{width}")[:, :, 0]
                hits = np.isin(keys, np.array(list(wanted), dtype=f"V{width}"))
                found.update(np.flatnonzero(hits.any(axis=1)).tolist())
        return sorted(found)


def used_slots(values: Bytes) -> NDArray[np.bool_]:
    """Which values are there at all, by the last axis; all zero means none."""
    if values.shape[-1] % 8:
        return np.asarray(values.any(axis=-1), dtype=np.bool_)
    words = np.ascontiguousarray(values).view(np.uint64)
    there = words[..., 0] != 0
    for word in range(1, words.shape[-1]):
        there |= words[..., word] != 0
    return np.asarray(there, dtype=np.bool_)


def text(values: Bytes) -> Bytes:
    """Digests as 64 hex characters, device IDs as 36 characters; shape (n, characters)."""
    count, width = values.shape
    digits = np.take(_HEX_PAIRS, values).view(np.uint8).reshape(count, width * 2)
    if width != DEVICE_WIDTH:
        return digits
    out = np.full((count, 36), ord("-"), dtype=np.uint8)
    out[:, [i for i in range(36) if i not in _UUID_DASHES]] = digits
    return out


def _parse(value: str) -> bytes | None:
    try:
        raw = bytes.fromhex(value.strip().replace("-", ""))
    except ValueError:
        return None
    return raw if any(raw) else None  # zeros stand for none, which many members have


def _render(
    columns: list[tuple[Cell, Bytes]], positions: NDArray[np.int64], before: bytes, after: bytes
) -> Rendered:
    """Rows of one pattern of present cells have one width, so each pattern is one byte matrix."""
    if len(columns) > _MAXIMUM_PATTERNS:
        raise ValueError("too many cells in a row")
    pattern = np.zeros(len(positions), dtype=np.int64)
    for bit, (_, column) in enumerate(columns):
        pattern |= used_slots(column).astype(np.int64) << bit
    bodies, orders = [], []
    if len(pattern) and (pattern == pattern[0]).all():  # the usual case needs no copies
        return Rendered(_matrix(columns, len(pattern), int(pattern[0]), before, after), positions)
    for present in np.unique(pattern).tolist():
        rows = np.flatnonzero(pattern == present)
        chosen = [(cell, column.take(rows, axis=0)) for cell, column in columns]
        bodies.append(_matrix(chosen, len(rows), present, before, after))
        orders.append(positions[rows])
    if not bodies:
        return Rendered(b"", positions)
    return Rendered(b",".join(bodies), np.concatenate(orders))


def _matrix(
    columns: list[tuple[Cell, Bytes]],
    rows: int,
    present: int,
    before: bytes,
    after: bytes,
) -> bytes:
    pieces: list[bytes | Bytes] = [before]
    first = True
    for bit, (cell, column) in enumerate(columns):
        there = present >> bit & 1
        if not there and cell.none is None:
            continue
        if not first:
            pieces.append(b",")
        first = False
        if there:
            pieces += [cell.before, text(column), cell.after]
        elif cell.none is not None:
            pieces.append(cell.none)
    pieces.append(after + b",")
    width = sum(len(p) if isinstance(p, bytes) else p.shape[1] for p in pieces)
    out = np.empty((rows, width), dtype=np.uint8)
    at = 0
    for piece in pieces:
        size = len(piece) if isinstance(piece, bytes) else piece.shape[1]
        value = np.frombuffer(piece, dtype=np.uint8) if isinstance(piece, bytes) else piece
        out[:, at : at + size] = value
        at += size
    return out.reshape(-1)[:-1].tobytes()
