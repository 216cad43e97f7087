"""Memberships as plain dictionaries of sets, for the columnar ones to agree with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from audience_sync.connector import Kind
from audience_sync.membership.lines import Lines, merge, no_lines
from audience_sync.membership.sealed import Keyring

WIDTHS = {Kind.EMAIL: 32, Kind.PHONE: 32, Kind.IDFA: 16}
Person = frozenset[tuple[Kind, int]]  # identifiers by a small number each
People = Mapping[int, Person]


def keyring(*names: str) -> Keyring:
    """A ring whose last name is the current one."""
    chosen = names or ("k1",)
    return Keyring(chosen[-1], {name: sha256(name.encode()).digest() for name in chosen})


def key(number: int) -> bytes:
    """An identity; some share eight bytes, so that only the rest tells them apart."""
    written = sha256(f"key {number}".encode()).digest()
    return sha256(b"shared").digest()[:8] + written[8:] if number % 3 == 0 else written


def value(kind: Kind, number: int) -> bytes:
    """An identifier of a kind; device IDs share all but their last byte."""
    if WIDTHS[kind] == 16:
        return bytes(range(1, 16)) + bytes([number + 1])
    written = sha256(f"{kind} {number}".encode()).digest()
    return bytes(8) + written[8:] if number % 4 == 0 else written


def array(rows: Iterable[bytes], width: int = 32) -> NDArray[np.uint8]:
    """Rows of bytes as the columnar code wants them."""
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, width).copy()


def rows_of(people: People, kinds: Iterable[Kind] = WIDTHS) -> list[tuple[int, dict[Kind, int]]]:
    """One row an identifier, as a source with many accounts of one person would give them."""
    return [(who, {kind: n}) for who, held in people.items() for kind, n in held if kind in kinds]


def lines_of(people: People, *, since: int = 0, kinds: Iterable[Kind] = WIDTHS) -> Lines:
    """The lines of people; columns for these kinds alone."""
    chosen = tuple(kinds)
    rows = rows_of(people, chosen)
    if not rows:
        return no_lines({kind: WIDTHS[kind] for kind in chosen})
    columns = {
        kind: array(
            (value(kind, row[kind]) if kind in row else bytes(WIDTHS[kind]) for _, row in rows),
            WIDTHS[kind],
        )
        for kind in chosen
    }
    at = np.full(len(rows), since, dtype=np.uint32)
    return merge(array(key(who) for who, _ in rows), columns, at)


def identifiers(lines: Lines) -> set[tuple[bytes, Kind, bytes]]:
    """Whose identifiers the lines hold: identity, kind, value."""
    return {
        (lines.keys[i].tobytes(), kind, values[i].tobytes())
        for kind, values in lines.columns.items()
        for i in range(len(lines))
        if values[i].any()
    }


def named(people: People) -> set[tuple[bytes, Kind, bytes]]:
    """The same of plain people."""
    return {(key(who), kind, value(kind, n)) for who, held in people.items() for kind, n in held}


def assert_well_formed(lines: Lines) -> None:
    """Sorted by key then slot, slots without a gap, no blank line, one time and state a member."""
    order = [(lines.keys[i].tobytes(), int(lines.slot[i])) for i in range(len(lines))]
    assert order == sorted(set(order))
    seen: dict[bytes, tuple[Any, Any]] = {}
    for i, (who, slot) in enumerate(order):
        assert any(values[i].any() for values in lines.columns.values())
        assert seen.setdefault(who, (lines.since[i], lines.state[i])) == (
            lines.since[i],
            lines.state[i],
        )
        assert slot == 0 or (who, slot - 1) in order


def people(kinds: Iterable[Kind] = WIDTHS, *, size: int = 8) -> st.SearchStrategy[People]:
    """People with a few identifiers of these kinds."""
    identifier = st.tuples(st.sampled_from(tuple(kinds)), st.integers(0, 5))
    return st.dictionaries(
        st.integers(0, 9), st.frozensets(identifier, min_size=1, max_size=5), max_size=size
    )
