"""The batch that a connector receives: nothing lost, nothing shown, nobody confused."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st

from audience_sync.connector import Cell, Kind, Members
from audience_sync.members import text

WIDTHS = {Kind.EMAIL: 32, Kind.PHONE: 32, Kind.IDFA: 16}


@st.composite
def batches(draw: st.DrawFn) -> Members:
    """Members with up to three identifiers of a kind; blank cells anywhere."""
    count = draw(st.integers(0, 5))
    values: dict[Kind, Any] = {}
    for kind, width in WIDTHS.items():
        slots = draw(st.integers(1, 3))
        cells = draw(
            st.lists(
                st.one_of(st.just(bytes(width)), st.binary(min_size=width, max_size=width)),
                min_size=count * slots,
                max_size=count * slots,
            )
        )
        column = np.frombuffer(b"".join(cells), dtype=np.uint8)
        values[kind] = column.reshape(count, slots, width)
    return Members(values)


def written(kind: Kind, value: bytes) -> str:
    return str(uuid.UUID(bytes=value)) if WIDTHS[kind] == 16 else value.hex()


def cells_of(members: Members) -> list[list[tuple[Kind, int, str]]]:
    """Kind, slot and text of every identifier of each member, cell by cell."""
    return [
        [
            (kind, slot, written(kind, column[position, slot].tobytes()))
            for kind, column in members.values.items()
            for slot in range(column.shape[1])
            if column[position, slot].any()
        ]
        for position in range(len(members))
    ]


@given(batches())
def test_columns_and_rows_are_text(members: Members) -> None:
    """Every identifier is written once, as lower-case hex or a device ID; none is an empty cell."""
    cells = cells_of(members)
    for kind, column in members.values.items():
        for slot in range(column.shape[1] + 1):
            wanted = [next((t for k, s, t in one if (k, s) == (kind, slot)), "") for one in cells]
            assert members.column(kind, slot) == wanted
    assert members.column(Kind.GAID) == [""] * len(members)
    rows = members.rows(members.kinds)
    assert all(any(row) for row in rows)
    assert sorted(t for row in rows for t in row if t) == sorted(
        t for one in cells for *_, t in one
    )


@given(batches(), st.data())
def test_taking_has_and_slots(members: Members, chosen: st.DataObject) -> None:
    """Some members, some slots, some kinds are those of the whole."""
    cells = cells_of(members)
    assert members.has(Kind.EMAIL, Kind.GAID).tolist() == [
        any(k is Kind.EMAIL for k, _, _ in one) for one in cells
    ]
    used = members.slots()
    for position, one in enumerate(cells):
        assert set(np.flatnonzero(used[position]).tolist()) == {slot for _, slot, _ in one}
    if len(members):
        at = chosen.draw(st.lists(st.integers(0, len(members) - 1), max_size=6))
        assert cells_of(members.take(at)) == [cells[i] for i in at]
    only = cells_of(members.only(Kind.PHONE))
    assert only == [[c for c in one if c[0] is Kind.PHONE] for one in cells]
    second = (
        cells_of(members.slot(1)) if any(v.shape[1] > 1 for v in members.values.values()) else []
    )
    assert [[(k, t) for k, _, t in one] for one in second] == [
        [(k, t) for k, slot, t in one if slot == 1] for one in cells[: len(second)]
    ]


@given(batches())
def test_merging_kinds_loses_nothing(members: Members) -> None:
    """Two kinds of one width in one column, identifiers in front, the other kinds as they were."""
    merged = members.merged(Kind.EMAIL, Kind.PHONE, Kind.GAID)
    assert set(merged.kinds) == {Kind.EMAIL, Kind.IDFA}
    for before, after in zip(cells_of(members), cells_of(merged), strict=True):
        both = [t for k, _, t in before if k is not Kind.IDFA]
        mine = [(slot, t) for k, slot, t in after if k is Kind.EMAIL]
        assert sorted(t for _, t in mine) == sorted(both)
        assert [slot for slot, _ in mine] == list(range(len(mine)))
        assert [c for c in after if c[0] is Kind.IDFA] == [c for c in before if c[0] is Kind.IDFA]
    assert members.merged(Kind.GAID) is members


CELLS = [Cell(Kind.EMAIL), Cell(Kind.PHONE, none=b'""'), Cell(Kind.IDFA, b'"id:', b'"')]


@given(batches())
def test_rendered_rows_are_json_of_the_cells(members: Members) -> None:
    """Every member is one row that says whose it is; absent cells are left out or told."""
    rendered = members.render(CELLS, before=b"[", after=b"]")
    rows = orjson.loads(b"[" + rendered.body + b"]")
    assert sorted(rendered.positions.tolist()) == list(range(len(members)))
    for row, position in zip(rows, rendered.positions.tolist(), strict=True):
        wanted: list[str] = []
        for cell in CELLS:
            for slot in range(members.values[cell.kind].shape[1]):
                value = members.column(cell.kind, slot)[position]
                prefix = "id:" if cell.kind is Kind.IDFA else ""
                if value or cell.none is not None:
                    wanted.append(prefix + value if value else "")
        assert row == wanted


@given(batches())
def test_rendered_slots_are_a_row_each(members: Members) -> None:
    """A partner with one identifier a kind gets a row for every slot in use, each cell once."""
    cells = [Cell(kind, none=b'""') for kind in WIDTHS]
    rendered = members.render_slots(cells, before=b"[", after=b"]")
    rows = orjson.loads(b"[" + rendered.body + b"]")
    found = sorted(
        (position, tuple(row))
        for row, position in zip(rows, rendered.positions.tolist(), strict=True)
    )
    wanted = []
    for slot in range(3):
        columns = [members.column(kind, slot) for kind in WIDTHS]
        wanted += [
            (position, row) for position, row in enumerate(zip(*columns, strict=True)) if any(row)
        ]
    assert found == sorted(wanted)


@given(batches(), st.data())
def test_a_named_member_is_found(members: Members, chosen: st.DataObject) -> None:
    """By any of its identifiers as text, with or without dashes, in any case; strangers are not."""
    cells = cells_of(members)
    known = sorted({t for one in cells for *_, t in one})
    picked = chosen.draw(st.lists(st.sampled_from(known), max_size=3)) if known else []
    spelled = [one.upper() if i % 2 else one.replace("-", "") for i, one in enumerate(picked)]
    strangers = ["", "not hex", "ab", "0" * 64, "0" * 32, str(uuid.UUID(int=0))]
    wanted = [i for i, one in enumerate(cells) if {t for *_, t in one} & set(picked)]
    assert members.find([*spelled, *strangers]) == wanted


def test_nothing_is_shown() -> None:
    """L10: a batch in a log or a traceback tells a number and kinds."""
    column = np.full((2, 1, 32), 0xAB, dtype=np.uint8)
    members = Members({Kind.EMAIL: column})
    assert repr(members) == str(members) == "Members(2: email)"
    assert text(column[:, 0]).tobytes() == b"ab" * 64
    assert len(Members({})) == 0
    assert Members({}).rows([]) == []


@given(batches(), st.integers(1, 4))
def test_parts_hold_everybody_once_within_the_limit(members: Members, rows: int) -> None:
    """Whoever has an identifier is in one part, in order; a part is too long only for one alone."""
    used = members.slots().sum(axis=1)
    parts = members.parts(rows)
    places = [int(place) for part in parts for place in part]
    assert places == [int(place) for place in np.flatnonzero(used)]
    assert all(used[part].sum() <= rows or len(part) == 1 for part in parts)
    following = itertools.pairwise(parts)
    assert all(used[one].sum() + used[two[0]] > rows for one, two in following)
