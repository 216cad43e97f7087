"""The hash chain as a law: an honest log is sound, and any other order or content is not."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from audience_sync.ledger.chain import GENESIS, Head, check, seal

Columns = dict[str, Any]

_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.text(),
    st.datetimes(timezones=st.just(UTC)),
)
_lines = st.lists(st.fixed_dictionaries({"sent": _values, "note": _values}), min_size=1, max_size=8)


def chained(lines: list[Columns]) -> list[Columns]:
    """The lines as the log would hold them."""
    previous, log = GENESIS, []
    for number, line in enumerate(lines, start=1):
        columns = line | {"sequence": number, "previous_hash": previous}
        previous = seal(columns)
        log.append(columns | {"hash": previous})
    return log


def head_of(log: list[Columns]) -> Head:
    return Head(lines=len(log), hash=log[-1]["hash"], last=len(log))


@given(_lines)
def test_an_honest_log_is_sound(lines: list[Columns]) -> None:
    """And its last hash is given, to be noted elsewhere."""
    log = chained(lines)

    found = check(log, head_of(log))

    assert found.sound
    assert found.lines == len(log)
    assert found.head == log[-1]["hash"]


@given(_lines, st.data())
def test_any_other_choice_or_order_of_lines_is_found(
    lines: list[Columns], draw: st.DataObject
) -> None:
    """Deleted, doubled, exchanged, cut off, in any combination."""
    log = chained(lines)
    shown = draw.draw(st.lists(st.sampled_from(log), max_size=len(log) + 2))
    assume(shown != log)

    found = check(shown, head_of(log))

    assert not found.sound
    assert found.broken_at is not None


@given(_lines, st.data())
def test_any_other_value_is_found(lines: list[Columns], draw: st.DataObject) -> None:
    """In any column of any line, whatever it becomes; the line is named."""
    log = chained(lines)
    place = draw.draw(st.integers(0, len(log) - 1))
    column = draw.draw(st.sampled_from(sorted(set(log[place]) - {"sequence"})))
    value = draw.draw(_values)
    written = log[place][column]
    assume((type(value), value) != (type(written), written))
    assume(not _reads_the_same(value, written))
    changed = deepcopy(log)
    changed[place][column] = value

    found = check(changed, head_of(log))

    assert not found.sound
    assert found.broken_at == place + 1


@given(_lines, st.data())
def test_a_rewritten_end_is_found(lines: list[Columns], draw: st.DataObject) -> None:
    """Even when everything from one line on is hashed anew: the head remembers."""
    log = chained(lines)
    place = draw.draw(st.integers(0, len(log) - 1))
    rewritten = deepcopy(lines)
    rewritten[place]["sent"] = f"{lines[place]['sent']}, more or less"

    assert not check(chained(rewritten), head_of(log)).sound


def test_a_log_without_head_is_not_sound() -> None:
    """Nobody can say where it should end."""
    assert check([], None).finding == "the head of the log is missing"


def test_a_line_holds_only_what_can_be_written() -> None:
    """Bytes and the like never get into the chain."""
    with pytest.raises(TypeError, match="text, numbers, flags and times only"):
        seal({"note": b"raw"})


def _reads_the_same(value: object, written: object) -> bool:
    """A time and its own text are one JSON; the typed columns of a database keep them apart."""
    return any(isinstance(v, datetime) for v in (value, written)) and (
        seal({"v": value}) == seal({"v": written})
    )
