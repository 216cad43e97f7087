"""A columnar batch writes the same rows as a loop over its members would."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.connector import Cell, Kind, Members

WIDTHS = {Kind.EMAIL: 32, Kind.PHONE: 32, Kind.GAID: 16, Kind.IDFA: 16}


@st.composite
def batches(draw: st.DrawFn) -> Members:
    """Members with some identifiers here and there, most slots in use in front."""
    count = draw(st.integers(0, 6))
    values = {}
    for kind, width in WIDTHS.items():
        slots = draw(st.integers(1, 3))
        made = np.zeros((count, slots, width), dtype=np.uint8)
        for member in range(count):
            for slot in range(draw(st.integers(0, slots))):
                made[member, slot] = list(draw(st.binary(min_size=width, max_size=width)))
                made[member, slot, 0] |= 1
        values[kind] = made
    return Members(values)


def _texts(members: Members, kind: Kind, member: int) -> list[str]:
    raw = [bytes(value) for value in members.values[kind][member] if value.any()]
    return [str(uuid.UUID(bytes=one)) if len(one) == 16 else one.hex() for one in raw]


@given(batches())
def test_rows_hold_each_members_identifiers(members: Members) -> None:
    """One row a member, in the order that `positions` tells."""
    cells = [Cell(kind) for kind in WIDTHS]
    found = members.render(cells, before=b"[", after=b"]")
    rows = json.loads(b"[" + found.body + b"]")
    assert sorted(found.positions.tolist()) == list(range(len(members)))
    for row, member in zip(rows, found.positions.tolist(), strict=True):
        assert row == [text for kind in WIDTHS for text in _texts(members, kind, member)]


@given(batches())
def test_rows_by_slot_hold_every_identifier_once(members: Members) -> None:
    """One row a slot in use, with a cell for every kind."""
    cells = [Cell(kind, none=b'""') for kind in WIDTHS]
    found = members.render_slots(cells, before=b"[", after=b"]")
    rows = json.loads(b"[" + found.body + b"]")
    assert len(rows) == members.slots().sum() == len(found.positions)
    for member in range(len(members)):
        mine = [row for row, at in zip(rows, found.positions, strict=True) if at == member]
        for column, kind in enumerate(WIDTHS):
            assert [row[column] for row in mine if row[column]] == _texts(members, kind, member)
    assert all(any(row) for row in rows)


@given(batches())
def test_merged_kinds_keep_all_identifiers_in_front(members: Members) -> None:
    """Two kinds of device in one column, as few slots as they need."""
    merged = members.merged(Kind.GAID, Kind.IDFA)
    assert Kind.IDFA not in merged.kinds
    deepest = 0
    for member in range(len(members)):
        both = _texts(members, Kind.GAID, member) + _texts(members, Kind.IDFA, member)
        assert _texts(merged, Kind.GAID, member) == both
        deepest = max(deepest, len(both))
    if len(members):
        assert merged.values[Kind.GAID].shape[1] == max(1, deepest)


@given(batches(), st.data())
def test_members_are_found_by_any_identifier(members: Members, data: st.DataObject) -> None:
    """A partner's sample leads back to whoever carries it; an unknown one to nobody."""
    chosen = data.draw(st.sets(st.integers(0, 5)))
    wanted = [
        text
        for member in chosen
        if member < len(members)
        for kind in WIDTHS
        for text in _texts(members, kind, member)
    ]
    carriers = {m for m in chosen if m < len(members) and members.has(*WIDTHS)[m]}
    assert carriers <= set(members.find(wanted))
    assert members.find(["", "nobody", "ab" * 32]) == []


def test_a_batch_never_prints_a_value() -> None:
    """What a batch says of itself is its size and its kinds."""
    members = Members({Kind.EMAIL: np.full((2, 1, 32), 171, dtype=np.uint8)})
    assert repr(members) == "Members(2: email)"
    assert "ab" not in repr(members)


def test_too_many_cells_are_an_error() -> None:
    """The presence of a row's cells is one number."""
    members = Members({Kind.EMAIL: np.ones((1, 63, 32), dtype=np.uint8)})
    with pytest.raises(ValueError, match="too many"):
        members.render([Cell(Kind.EMAIL)], before=b"", after=b"")
